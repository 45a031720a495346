"""Azurite, the tenant, the instance and the Functions host as processes of their own, wired together."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING, Any, Self

import httpx
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import Azurite
from sandbox.bench.ends import BenchError, Source, Target
from sandbox.bench.memory import forget_peak, peak
from sandbox.host.process import HostProcess
from sandbox.processes import REPOSITORY, ChildProcess, answers, free_port, part_process
from sandbox.up import sandbox_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_QUEUES = ("user-events", "group-events", "cycle-events")
_START_SECONDS = 120.0
_LOOK_AGAIN = 0.02
#: The queues are looked at this often, in seconds; empty twice means empty, because a message may move between two looks.
_QUIET_LOOK = 0.25
#: No timer fires while something is measured.
_NEVER = "0 0 0 1 1 *"
_TABLE_ENDPOINT = re.compile(r"TableEndpoint=(http://127\.0\.0\.1:\d+)")


class Stage:
    """``async with Stage(users=100) as stage``: everything runs, nothing is provisioned yet.

    Latencies in seconds. ``started_in`` is the time from the start of the host's process to its first answer.
    """

    def __init__(
        self, *, users: int, groups: int = 0, everyone_group: bool = False, query: float = 0.0, write: float = 0.0
    ) -> None:
        self._tenant_options = ["--users", str(users), "--groups", str(groups), "--notification-delay", "0"]
        self._tenant_options += ["--everyone-group"] if everyone_group else []
        self._instance_options = ["--latency-query", str(query), "--latency-write", str(write)]
        self._stack = contextlib.AsyncExitStack()
        self._storage = Azurite()
        self._host: HostProcess | None = None
        # The same over all starts: the subscriptions name it.
        self._port = free_port()
        self.started_in = 0.0

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._storage)
            tenant_url = await _serve(stack, "tenant", self._tenant_options)
            instance_url = await _serve(stack, "instance", self._instance_options)
            self._settings = sandbox_settings(
                storage=self._storage.connection_string,
                tenant_url=tenant_url,
                instance_url=instance_url,
                changes={"CYCLE_SCHEDULE": _NEVER, "SUBSCRIPTION_SCHEDULE": _NEVER, "VERIFY_SCHEDULE": _NEVER},
            )
            self.source = Source(tenant_url, self._settings["GRAPH_ACCESS_TOKEN"])
            stack.push_async_callback(self.source.aclose)
            self.target = Target(instance_url)
            stack.push_async_callback(self.target.aclose)
            await self.target.seed_references()
            self._queues = await stack.enter_async_context(
                QueueServiceClient.from_connection_string(self._storage.connection_string)
            )
            self._http = await stack.enter_async_context(httpx.AsyncClient(timeout=60.0))
            stack.push_async_callback(self.stop_host)
            await self.start_host()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def table_url(self) -> str:
        """Where the table service is."""
        found = _TABLE_ENDPOINT.search(self._storage.connection_string)
        if found is None:
            raise BenchError("the storage has no table endpoint")
        return found[1]

    @property
    def client_state(self) -> str:
        """The secret that every notification must carry."""
        return self._settings["NOTIFICATION_CLIENT_STATE"]

    async def start_host(self, *, table_url: str = "") -> None:
        """Start a host, on another table endpoint if one is given, and wait until it has served its first function."""
        url = f"http://127.0.0.1:{self._port}"
        settings = self._settings | {"NOTIFICATION_URL": url}
        if table_url:
            settings["AzureWebJobsStorage"] = _TABLE_ENDPOINT.sub(f"TableEndpoint={table_url}", self._storage.connection_string)
        self._host = HostProcess(REPOSITORY, settings, port=self._port)
        started = time.monotonic()
        starting = asyncio.create_task(self._host.start(_START_SECONDS))
        try:
            while not await self._is_served(f"{url}/api/health"):
                if starting.done():
                    await starting
                if time.monotonic() - started > _START_SECONDS:
                    raise BenchError("the host does not serve its functions")
                await asyncio.sleep(_LOOK_AGAIN)
            self.started_in = time.monotonic() - started
        finally:
            await starting

    async def stop_host(self) -> None:
        """End the host cleanly."""
        if self._host is not None and self._host.running:
            await self._host.terminate()

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        """Ask one of the app's functions, as an operator. Raises ``BenchError`` if it refuses."""
        answer = await self._http.post(f"{self._running.url}/api{path}", json=body, headers=self._running.headers)
        if not answer.is_success:
            raise BenchError(f"POST {path} answered {answer.status_code}: {answer.text[:200]}")
        return answer

    async def job(self) -> dict[str, Any]:
        """The app's ``GET /job``."""
        answer = await self._http.get(f"{self._running.url}/api/job", headers=self._running.headers)
        if not answer.is_success:
            raise BenchError(f"GET /job answered {answer.status_code}: {answer.text[:200]}")
        document: dict[str, Any] = answer.json()
        return document

    async def quiet(self, seconds: float) -> None:
        """Wait until the queues are empty, delayed messages included. Raises ``BenchError`` after ``seconds``."""
        deadline = time.monotonic() + seconds
        empty = 0
        while empty < 2:  # noqa: PLR2004 - see _QUIET_LOOK
            if time.monotonic() > deadline:
                raise BenchError(f"the queues are not empty after {seconds:g} s: {await self._lengths()}")
            if not self._running.running:
                raise BenchError(f"the host has ended: {self._running.logs()[-1000:]}")
            await asyncio.sleep(_QUIET_LOOK)
            empty = 0 if any((await self._lengths()).values()) else empty + 1

    def begin_phase(self) -> None:
        """Forget the host's peak memory so far."""
        forget_peak(self._running.pid)

    @property
    def peak_memory(self) -> str:
        """The host's peak memory in this phase."""
        return peak(self._running.pid)

    @property
    def _running(self) -> HostProcess:
        if self._host is None:
            raise BenchError("the host has not been started")
        return self._host

    async def _is_served(self, url: str) -> bool:
        try:
            return (await self._http.get(url)).is_success
        except httpx.TransportError:
            return False

    async def _lengths(self) -> dict[str, int]:
        return {queue: await self._length(queue) for queue in _QUEUES}

    async def _length(self, queue: str) -> int:
        try:
            properties = await self._queues.get_queue_client(queue).get_queue_properties()
        except ResourceNotFoundError:
            return 0
        return int(properties.approximate_message_count or 0)


async def _serve(stack: contextlib.AsyncExitStack, part: str, options: Sequence[str]) -> str:
    """Start a part of the sandbox on a free port; its address."""
    port = free_port()
    await run(stack, part_process(part, [*options, "--port", str(port)]), port)
    return f"http://127.0.0.1:{port}"


async def run(stack: contextlib.AsyncExitStack, process: ChildProcess, port: int) -> None:
    """Start a process, wait until it listens, and end it with the stack."""
    await asyncio.to_thread(process.start, lambda: answers(port), timeout=_START_SECONDS)
    stack.push_async_callback(asyncio.to_thread, process.terminate)
