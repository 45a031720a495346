"""``python -m sandbox.bench``: measure, and print one table."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
import time

from sandbox.bench.program import CASES, Program
from sandbox.bench.sizes import QUICK, Sizes
from sandbox.bench.table import machine, rendered


def main(arguments: list[str]) -> int:
    """Run the program; the exit code: 1 if a case gave no figures."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.bench", description="How fast the app is, on the sandbox.")
    parser.add_argument("--users", type=_positive, help=f"users of the first cycle ({Sizes().users:,})")
    parser.add_argument("--members", type=_positive, help=f"members of the big group ({Sizes().members:,})")
    parser.add_argument("--changes", type=_positive, help=f"live changes ({Sizes().changes:,})")
    parser.add_argument("--quick", action="store_true", help="small numbers, for a look")
    parser.add_argument("--only", choices=CASES, action="append", metavar="NAME", help=f"only this case: {', '.join(CASES)}")
    args = parser.parse_args(arguments)
    chosen = {name: value for name in ("users", "members", "changes") if (value := getattr(args, name)) is not None}
    sizes = dataclasses.replace(QUICK if args.quick else Sizes(), **chosen)
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    program = Program(sizes, args.only or CASES, tell)
    try:
        asyncio.run(program.run())
    except KeyboardInterrupt:
        tell("interrupted")
        program.failed = True
    print(f"{machine()}, {time.strftime('%Y-%m-%d')}; {time.monotonic() - began:.0f} s in all")
    print(rendered(program.sections))
    return 1 if program.failed else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a number above 0 is needed")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
