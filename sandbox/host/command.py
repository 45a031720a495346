"""``python -m sandbox host``: run a function app as ``func start`` would."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.host.configuration import ConfigurationError, LocalSettings, read_local_settings
from sandbox.host.host import DEFAULT_LEASE, FunctionsHost
from sandbox.host.keys import load_or_create_keys
from sandbox.host.logs import log_to_stderr
from sandbox.host.process import READY_LINE
from sandbox.host.runtime import IndexingError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

DEFAULT_PORT = 7071
_LEVELS = ("debug", "info", "warning", "error")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of the host."""
    parser.add_argument(
        "--port", type=int, help=f"port of the HTTP functions (local.settings.json's, else {DEFAULT_PORT}; 0: a free one)"
    )
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--app", type=Path, default=Path(), help="directory of function_app.py and host.json (the current one)")
    parser.add_argument("--settings", type=Path, help="settings file (local.settings.json of the app); variables already set win")
    parser.add_argument("--environment-only", action="store_true", help="read no settings file")
    parser.add_argument("--keys-file", type=Path, help="function keys, made on first use (.sandbox/host-keys.json of the app)")
    parser.add_argument("--no-auth", action="store_true", help="ask for no keys, as 'func start' does")
    parser.add_argument(
        "--queue-lease",
        type=int,
        default=DEFAULT_LEASE,
        metavar="SECONDS",
        help="how long a message stays hidden when a host is killed (%(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long functions in flight may go on when the host stops (%(default)s)",
    )
    parser.add_argument("--log-level", choices=_LEVELS, default="info", help="least level of log lines on stderr (%(default)s)")


async def run(args: Namespace) -> int:
    """Run until cancelled; the exit code: 1, with the reason on stderr, if the app cannot be started."""
    log_to_stderr(args.log_level)
    app_dir = args.app.resolve()
    try:
        settings = (
            LocalSettings() if args.environment_only else read_local_settings(args.settings or app_dir / "local.settings.json")
        )
        settings.apply(os.environ)
        keys = (
            None if args.no_auth else load_or_create_keys((args.keys_file or app_dir / ".sandbox" / "host-keys.json").resolve())
        )
        port = args.port if args.port is not None else settings.port or DEFAULT_PORT
        host = FunctionsHost(app_dir, port=port, address=args.address, keys=keys, queue_lease=args.queue_lease, grace=args.grace)
        async with host:
            for name, function in sorted(host.functions.items()):
                print(f"  {name}: {type(function.trigger).__name__}")
            print(f"{READY_LINE}{host.url}", flush=True)
            try:
                await asyncio.Event().wait()
            finally:
                # An app has no hook in which to close its clients; that they are open when the process ends is no news.
                logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    except IndexingError as error:
        print(f"The app in {app_dir} cannot be loaded:\n  {error}\n{error.trace}", file=sys.stderr)
        return 1
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
