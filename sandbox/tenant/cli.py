"""The tenant as a program: ``python -m sandbox tenant --port 7072 --users 2000 --groups 100``."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from sandbox.tenant.config import Faults, TenantConfig
from sandbox.tenant.server import TenantServer

if TYPE_CHECKING:
    import argparse

_DEFAULT_PORT = 7072
_DEFAULT_DELAY = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the tenant."""
    parser.add_argument("--port", type=int, default=_DEFAULT_PORT, help="port on 127.0.0.1; 0 takes a free one (%(default)s)")
    parser.add_argument("--users", type=int, default=2000, help="how many people to invent (%(default)s)")
    parser.add_argument("--groups", type=int, default=100, help="how many groups to invent (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same organisation (%(default)s)")
    parser.add_argument("--everyone-group", action="store_true", help="add a group that holds every user")
    parser.add_argument("--token", help="the only bearer token that is accepted; without it, any is")
    parser.add_argument("--no-throttling", action="store_true", help="never answer 429 by itself")
    parser.add_argument(
        "--notification-delay",
        type=float,
        nargs="+",
        default=[_DEFAULT_DELAY],
        metavar="SECONDS",
        help="time from a change to its notification, or shortest and longest (%(default)s)",
    )
    parser.add_argument("--lag", type=float, default=0.0, metavar="SECONDS", help="how far replicas may be behind (%(default)s)")


async def run(args: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; prints one line with the URL when serving. Raises OSError if the port is taken."""
    delays = args.notification_delay
    config = TenantConfig(
        seed=args.seed,
        users=args.users,
        groups=args.groups,
        everyone_group=args.everyone_group,
        bearer_token=args.token,
        throttling=not args.no_throttling,
        faults=Faults(notification_delay=(min(delays), max(delays)), lag_seconds=args.lag),
    )
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with TenantServer(config, port=args.port) as server:
            print(f"Entra tenant with {args.users} users and {args.groups} groups: {server.url}", flush=True)
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
