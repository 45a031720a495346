"""What the demonstration plays on: storage on disk, tenant, instance and host as processes, wired to each other."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import shutil
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.azurite import DEFAULT_PORTS, Azurite
from sandbox.host.process import HostProcess
from sandbox.processes import REPOSITORY, ProcessError, answers, free_port, part_process
from sandbox.up import HOST_PORT, INSTANCE_PORT, TENANT_PORT, sandbox_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from sandbox.processes import ChildProcess

_URL: Final = re.compile(r"http://127\.0\.0\.1:\d+")
_START_TIMEOUT: Final = 120.0
_MOST_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How big the tenant is and how slow the instance; latencies in seconds."""

    users: int = 2000
    groups: int = 100
    seed: int = 1
    latency_query: float = 0.010
    latency_write: float = 0.015


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs. URLs have no slash at the end; ``graph_url`` ends in the version."""

    graph_url: str
    instance_url: str
    host: HostProcess
    token: str
    directory: Path
    parts: Mapping[str, ChildProcess]

    def ended(self) -> str | None:
        """The name of a part that has ended on its own, if one has."""
        if not self.host.running:
            return "host"
        return next((name for name, part in self.parts.items() if not part.running), None)


@contextmanager
def fresh_directory(wanted: Path) -> Iterator[Path]:
    """An empty directory that no other demonstration uses: ``wanted``, or one beside it with a number.

    What an earlier run left there is forgotten. Raises ``ProcessError`` if far too many run already.
    """
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, _MOST_AT_ONCE + 1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with directory.with_name(f"{directory.name}.lock").open("w") as lock:
            try:
                # The lock ends with the process, however that ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            yield directory
            return
    raise ProcessError(f"{_MOST_AT_ONCE} demonstrations are running beside {wanted}: end some of them")


@asynccontextmanager
async def stage(sizes: Sizes, directory: Path) -> AsyncIterator[Stage]:
    """Start all parts, on their usual ports where those are free; raises ``ProcessError``. At the end all of them are stopped."""
    (directory / "azurite").mkdir(parents=True)
    async with AsyncExitStack() as stack:
        storage = await _storage(stack, directory / "azurite")
        settings = sandbox_settings(storage=storage.connection_string)
        token = settings["GRAPH_ACCESS_TOKEN"]
        tenant, tenant_url = await _server(
            stack,
            "tenant",
            TENANT_PORT,
            ["--users", str(sizes.users), "--groups", str(sizes.groups), "--seed", str(sizes.seed), "--token", token],
            directory,
        )
        instance, instance_url = await _server(
            stack,
            "instance",
            INSTANCE_PORT,
            ["--latency-query", str(sizes.latency_query), "--latency-write", str(sizes.latency_write)],
            directory,
        )
        host = await _host(stack, storage.connection_string, tenant_url, instance_url, directory)
        parts = {"tenant": tenant, "instance": instance}
        yield Stage(f"{tenant_url}/v1.0", instance_url, host, token, directory, parts)


async def _storage(stack: AsyncExitStack, directory: Path) -> Azurite:
    """Azurite on its usual ports, or on free ones."""
    if not any(map(answers, DEFAULT_PORTS)):
        # Somebody may take a port between the look and the start.
        with contextlib.suppress(ProcessError):
            return await stack.enter_async_context(Azurite(directory, ports=DEFAULT_PORTS))
    return await stack.enter_async_context(Azurite(directory))


async def _server(
    stack: AsyncExitStack, part: str, usual: int, arguments: list[str], directory: Path
) -> tuple[ChildProcess, str]:
    """A part that prints its URL when it serves: on the usual port, or on a free one."""
    for port in (0,) if answers(usual) else (usual, 0):
        # A log of its own for each try, so that the URL in it is this one's.
        process = part_process(part, [*arguments, "--port", str(port)], log_file=directory / "logs" / f"{part}-{port}.log")
        try:
            await asyncio.to_thread(process.start, lambda one=process: bool(_URL.search(one.logs())), timeout=_START_TIMEOUT)  # type: ignore[misc]  # mypy cannot infer a lambda's default
        except ProcessError:
            # Somebody may have taken the port between the look and the start.
            if port == 0:
                raise
        else:
            stack.push_async_callback(asyncio.to_thread, process.terminate)
            return process, _URL.findall(process.logs())[0]
    raise ProcessError(f"{part} could not be started")


async def _host(stack: AsyncExitStack, storage: str, tenant_url: str, instance_url: str, directory: Path) -> HostProcess:
    """The host's port is part of the app's settings (``NOTIFICATION_URL``), so it is chosen before the start."""
    ports = (free_port(),) if answers(HOST_PORT) else (HOST_PORT, free_port())
    for port in ports:
        host = HostProcess(
            REPOSITORY,
            sandbox_settings(
                storage=storage, tenant_url=tenant_url, instance_url=instance_url, host_url=f"http://127.0.0.1:{port}"
            ),
            port=port,
            keys_file=directory / "host-keys.json",
            log_file=directory / "logs" / f"host-{port}.log",
        )
        with contextlib.suppress(ProcessError) if port != ports[-1] else contextlib.nullcontext():
            return await stack.enter_async_context(host)
    raise ProcessError("the host could not be started")
