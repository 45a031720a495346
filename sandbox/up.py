"""``python -m sandbox up``: storage, tenant, instance and host together, wired to each other, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.azurite import DEFAULT_PORTS, Azurite
from sandbox.host.process import HostProcess
from sandbox.processes import REPOSITORY, ProcessError, answers, part_process

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from sandbox.processes import ChildProcess

HOST_PORT: Final = 7071
TENANT_PORT: Final = 7072
INSTANCE_PORT: Final = 7073
_START_TIMEOUT: Final = 120.0
_LOOK_AGAIN: Final = 1.0


def sandbox_settings(
    *,
    storage: str = "UseDevelopmentStorage=true",
    tenant_url: str = f"http://127.0.0.1:{TENANT_PORT}",
    instance_url: str = f"http://127.0.0.1:{INSTANCE_PORT}",
    host_url: str = f"http://127.0.0.1:{HOST_PORT}",
    changes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """App settings that wire the app to the sandbox: local.settings.example.json with these addresses, then ``changes``."""
    example = json.loads((REPOSITORY / "local.settings.example.json").read_text(encoding="utf-8"))
    settings: dict[str, str] = dict(example["Values"])
    settings |= {
        "AzureWebJobsStorage": storage,
        "GRAPH_BASE_URL": f"{tenant_url.rstrip('/')}/v1.0",
        "SERVICENOW_INSTANCE_URL": instance_url,
        "NOTIFICATION_URL": host_url,
    }
    return settings | dict(changes or {})


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of ``python -m sandbox up``."""
    parser.add_argument("--users", type=int, default=2000, help="people in the tenant (%(default)s)")
    parser.add_argument("--groups", type=int, default=100, help="groups in the tenant (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same organisation (%(default)s)")
    parser.add_argument("--latency-query", type=float, default=0.05, metavar="SECONDS", help="of the instance (%(default)s)")
    parser.add_argument("--latency-write", type=float, default=0.08, metavar="SECONDS", help="of the instance (%(default)s)")
    parser.add_argument("--directory", type=Path, default=Path(".sandbox"), help="storage, keys and logs (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs left in the directory")
    parser.add_argument("--log-level", default="info", help="of the host: debug, info, warning or error (%(default)s)")
    for part, port in (("host", HOST_PORT), ("tenant", TENANT_PORT), ("instance", INSTANCE_PORT)):
        parser.add_argument(f"--{part}-port", type=int, default=port, help="(%(default)s)")
    for service, port in zip(("blob", "queue", "table"), DEFAULT_PORTS, strict=True):
        parser.add_argument(f"--{service}-port", type=int, default=port, help="of Azurite (%(default)s)")


async def run(args: Namespace) -> int:
    """Start everything, print where it is, and stay until cancelled or until a part ends on its own; the exit code."""
    directory: Path = args.directory.resolve()
    if args.fresh:
        for leftover in ("azurite", "instance", "logs"):
            shutil.rmtree(directory / leftover, ignore_errors=True)
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    (directory / "azurite").mkdir(exist_ok=True)
    storage = Azurite(directory / "azurite", ports=(args.blob_port, args.queue_port, args.table_port))
    try:
        async with storage:
            return await _run_on(storage, args, directory)
    except ProcessError as error:
        print(error, flush=True)
        return 1


async def _run_on(storage: Azurite, args: Namespace, directory: Path) -> int:
    urls = {part: f"http://127.0.0.1:{getattr(args, f'{part}_port')}" for part in ("tenant", "instance", "host")}
    settings = sandbox_settings(
        storage=storage.connection_string,
        tenant_url=urls["tenant"],
        instance_url=urls["instance"],
        host_url=urls["host"],
    )
    tenant = ["--users", str(args.users), "--groups", str(args.groups), "--seed", str(args.seed)]
    tenant += ["--token", settings["GRAPH_ACCESS_TOKEN"]]
    instance = ["--latency-query", str(args.latency_query), "--latency-write", str(args.latency_write)]
    instance += ["--data", str(directory / "instance")]
    servers = [
        (
            part_process("tenant", [*tenant, "--port", str(args.tenant_port)], log_file=directory / "logs" / "tenant.log"),
            args.tenant_port,
        ),
        (
            part_process(
                "instance", [*instance, "--port", str(args.instance_port)], log_file=directory / "logs" / "instance.log"
            ),
            args.instance_port,
        ),
    ]
    host = HostProcess(
        REPOSITORY,
        settings,
        port=args.host_port,
        keys_file=directory / "host-keys.json",
        log_level=args.log_level,
        log_file=directory / "logs" / "host.log",
    )
    started: list[ChildProcess] = []
    try:
        for server, port in servers:
            await _start(server, port)
            started.append(server)
        async with host:
            print(_summary(urls, host, storage, directory), flush=True)
            while host.running and all(server.running for server in started):  # noqa: ASYNC110 - a process's end sets no event
                await asyncio.sleep(_LOOK_AGAIN)
            ended = next((server.name for server in started if not server.running), "host")
            print(f"{ended} has ended on its own: see {directory / 'logs'}", flush=True)
            return 1
    finally:
        for server in reversed(started):
            await asyncio.to_thread(server.terminate)


async def _start(server: ChildProcess, port: int) -> None:
    if answers(port):
        raise ProcessError(f"{server.name} cannot start: port {port} is in use; choose another --{server.name}-port")
    await asyncio.to_thread(server.start, lambda: answers(port), timeout=_START_TIMEOUT)


def _summary(urls: Mapping[str, str], host: HostProcess, storage: Azurite, directory: Path) -> str:
    key = host.keys["default"]
    return "\n".join(
        (
            f"Entra tenant         {urls['tenant']}/v1.0",
            f"ServiceNow instance  {urls['instance']}",
            f"Functions host       {urls['host']}",
            f"  function key       {key}",
            f"  master key         {host.keys['master']}",
            f"  status             curl -H 'x-functions-key: {key}' {urls['host']}/api/job",
            f"Storage              {storage.connection_string}",
            f"Logs                 {directory / 'logs'}",
            "Ctrl-C ends everything.",
        )
    )
