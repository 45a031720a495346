"""``python -m sandbox.demo``: options, signals and the exit code."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from sandbox.demo.cast import LEAST_GROUPS, LEAST_USERS, CastingError
from sandbox.demo.first_cycle import StuckError
from sandbox.demo.stage import Sizes, fresh_directory
from sandbox.demo.story import Verdict, tell
from sandbox.processes import REPOSITORY, ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """0: both sides agree and every change arrived; 1: not; 130: interrupted before that was known."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description="A directory arrives in ServiceNow.")
    sizes = Sizes()
    parser.add_argument("--users", type=_at_least(LEAST_USERS), default=sizes.users, help="people in Entra (%(default)s)")
    parser.add_argument("--groups", type=_at_least(LEAST_GROUPS), default=sizes.groups, help="groups in Entra (%(default)s)")
    parser.add_argument("--seed", type=int, default=sizes.seed, help="the same seed makes the same people (%(default)s)")
    for name in ("query", "write"):
        default = getattr(sizes, f"latency_{name}")
        text = f"how long ServiceNow takes for a {name} (%(default)s)"
        parser.add_argument(f"--latency-{name}", type=float, default=default, metavar="SECONDS", help=text)
    parser.add_argument("--directory", type=Path, default=REPOSITORY / ".sandbox" / "demo", help="storage, keys and logs")
    args = parser.parse_args(arguments)
    chosen = Sizes(args.users, args.groups, args.seed, args.latency_query, args.latency_write)
    return asyncio.run(_run(chosen, args.directory.resolve()))


async def _run(sizes: Sizes, wanted: Path) -> int:
    verdict = Verdict()
    with fresh_directory(wanted) as directory:
        story = asyncio.ensure_future(tell(sizes, directory, verdict))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, story.cancel)
        try:
            await story
        except asyncio.CancelledError:
            print("\nEnded.")
            return verdict.exit_code if verdict.exit_code == 0 else _INTERRUPTED
        except (ProcessError, StuckError, CastingError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        except httpx.HTTPError as error:
            print(f"\n{_request_of(error)}: {error!r} (logs: {directory / 'logs'})", file=sys.stderr)
            return 1
    return verdict.exit_code


def _request_of(error: httpx.HTTPError) -> str:
    try:
        return f"{error.request.method} {error.request.url}"
    except RuntimeError:
        return "a request"


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
