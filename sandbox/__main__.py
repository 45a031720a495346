"""``python -m sandbox PART``: one part of the sandbox alone, or ``up`` for all of them together."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import sys
from typing import Any, Final

_PARTS: Final = {
    "tenant": ("sandbox.tenant", "a local Entra tenant that speaks Microsoft Graph"),
    "instance": ("sandbox.instance", "a local ServiceNow instance"),
    "host": ("sandbox.host.command", "a local Functions host, for this app or another"),
    "azurite": ("sandbox.azurite", "the storage emulator, from npm"),
    "up": ("sandbox.up", "everything, wired together"),
}
_END_WITH_PARENT: Final = "--end-with-parent"


def main(arguments: list[str]) -> int:
    """Run a part; the exit code. A part is imported only when it is asked for, so that one alone can break one alone."""
    end_with_parent = _END_WITH_PARENT in arguments[:1]
    if end_with_parent:
        arguments = arguments[1:]
    chooser = argparse.ArgumentParser(
        prog="python -m sandbox",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="parts:\n" + "\n".join(f"  {name:10}{text}" for name, (_, text) in _PARTS.items()),
        description="Runs a part until Ctrl-C. 'python -m sandbox PART --help' shows its options.",
    )
    chooser.add_argument(_END_WITH_PARENT, action="store_true", help="also end when standard input does")
    chooser.add_argument("part", choices=_PARTS)
    part = chooser.parse_args(arguments[:1]).part
    module = importlib.import_module(_PARTS[part][0])
    parser = argparse.ArgumentParser(prog=f"python -m sandbox {part}", description=_PARTS[part][1])
    module.add_arguments(parser)
    return asyncio.run(_run_until_stopped(module, parser.parse_args(arguments[1:]), end_with_parent=end_with_parent))


async def _run_until_stopped(part: Any, args: argparse.Namespace, *, end_with_parent: bool) -> int:
    """Run a part and cancel it at SIGINT, SIGTERM or, if asked to, at the end of standard input: it cleans up and ends."""
    task = asyncio.ensure_future(part.run(args))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin)
            task.cancel()

    if end_with_parent:
        loop.add_reader(sys.stdin, read)
    try:
        return int(await task or 0)
    except asyncio.CancelledError:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
