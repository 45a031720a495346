"""``python -m sandbox instance``: arguments and the running server."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from .config import CustomColumn, InstanceConfig, merged
from .seed import seed_from_json
from .server import InstanceServer

OBJECT_ID = "u_entra_object_id"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the instance's arguments to a parser."""
    parser.add_argument("--port", type=int, default=7073, help="port on 127.0.0.1 (7073); 0 takes a free one")
    parser.add_argument("--latency-query", type=float, default=0.0, metavar="SECONDS", help="service time of a query")
    parser.add_argument("--latency-write", type=float, default=0.0, metavar="SECONDS", help="service time of a write")
    parser.add_argument("--latency-jitter", type=float, default=0.0, metavar="SHARE", help="0.2 varies them by 20 %% either way")
    parser.add_argument("--data", type=Path, metavar="PATH", help="keep the rows in this directory or .json file")
    parser.add_argument("--seed", type=Path, metavar="FILE", help="JSON with departments, locations, ... and people to add")
    parser.add_argument("--object-id-columns", action="store_true", help=f"add {OBJECT_ID} to users and groups")
    parser.add_argument("--set", type=_json_object, default={}, metavar="JSON", help="any other switches, as a JSON object")


async def run(args: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; print one line with the address."""
    server = InstanceServer(config_from(args), args.port, data=args.data)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        if args.seed is not None:
            seed_from_json(server.instance, json.loads(await asyncio.to_thread(args.seed.read_text, encoding="utf-8")))
        print(f"ServiceNow instance: {server.url}", flush=True)
        await stop.wait()


def config_from(args: argparse.Namespace) -> InstanceConfig:
    """Return the configuration that the arguments ask for; raise ValueError for a switch that does not fit."""
    columns = tuple(CustomColumn(table, OBJECT_ID) for table in ("sys_user", "sys_user_group")) if args.object_id_columns else ()
    config = InstanceConfig(
        latency_query=args.latency_query,
        latency_write=args.latency_write,
        latency_jitter=args.latency_jitter,
        custom_columns=columns,
    )
    return merged(config, args.set)


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is expected")
    return value
