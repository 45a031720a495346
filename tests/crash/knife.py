"""Cutting a process short before or after any call to Graph, ServiceNow or storage, stopping it there, or failing the call.

A crash is what SIGKILL is: nothing of the process runs any further. So after the cut every call of the same life fails, and
whatever the app still tries in its ``except`` and ``finally`` blocks reaches nobody. A stop is SIGSTOP: nothing goes on until
it is continued, and then everything does, as if nothing had been. After a call that merely failed, the process lives on.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, override

import httpx

from shared.errors import UnavailableError
from shared.state.queues import Queues
from shared.state.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from sandbox.chaos.memory import MemoryQueues, MemoryTables
    from shared.state.queues import Backlog
    from shared.state.tables import Operation, Row

#: Both sides speak plain HTTP here, and loading the machine's certificates for each life would take most of the time.
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Crash(BaseException):
    """The process has ended here."""


class Knife:
    """Counts the calls of one life and cuts it at one of them: before it is made, or after it and before its answer is known."""

    def __init__(self, cut: int | None = None, *, after: bool = False) -> None:
        self._cut = cut
        self._after = after
        self.calls: list[str] = []
        self.dead = False

    async def call[T](self, label: str, make: Callable[[], Awaitable[T]], failure: Callable[[str], Exception]) -> T:
        """Make the call; ``failure`` is what its caller would see of a service that does not answer."""
        if self.dead:
            raise Crash(label)
        number = len(self.calls)
        self.calls.append(label)
        if number == self._cut and not self._after:
            await self.strike(label, failure)
        try:
            return await make()
        finally:
            if number == self._cut and self._after:
                await self.strike(label, failure)
            if self.dead:
                raise Crash(label)

    async def strike(self, label: str, _failure: Callable[[str], Exception]) -> None:
        """What happens at the cut: the end of the process."""
        self.dead = True
        raise Crash(label)


class Stumble(Knife):
    """Lets one call fail instead: not made, or made without an answer; the process lives on."""

    def __init__(self, cut: int | None = None, *, after: bool = False) -> None:
        super().__init__(cut, after=after)
        self.told = "no call failed"

    @override
    async def strike(self, label: str, failure: Callable[[str], Exception]) -> None:
        self.told = f"call {self._cut}, {label}, failed {'after' if self._after else 'before'} it was made"
        self._cut = None
        raise failure(label)


class Stop(Knife):
    """Stops the process at one of its calls, every other call that is under way included, until it is continued."""

    def __init__(self, cut: int | None = None, *, after: bool = False) -> None:
        super().__init__(cut, after=after)
        self.stopped = asyncio.Event()
        self._continued = asyncio.Event()

    def go_on(self) -> None:
        """Continue the process."""
        self._continued.set()

    @override
    async def call[T](self, label: str, make: Callable[[], Awaitable[T]], failure: Callable[[str], Exception]) -> T:
        await self._stand_still()
        try:
            return await super().call(label, make, failure)
        finally:
            await self._stand_still()

    @override
    async def strike(self, label: str, failure: Callable[[str], Exception]) -> None:
        self.stopped.set()
        await self._stand_still()

    async def _stand_still(self) -> None:
        if self.stopped.is_set():
            await self._continued.wait()


class CutTransport(httpx.AsyncBaseTransport):
    """HTTP through a knife."""

    def __init__(self, knife: Knife, name: str) -> None:
        self._knife = knife
        self._name = name
        self._beneath = httpx.AsyncHTTPTransport(verify=_NO_CERTIFICATES)

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def make() -> httpx.Response:
            response = await self._beneath.handle_async_request(request)
            await response.aread()
            return response

        def failure(label: str) -> Exception:
            return httpx.ReadTimeout(f"no answer to {label}", request=request)

        return await self._knife.call(f"{self._name} {request.method} {request.url.path}", make, failure)

    @override
    async def aclose(self) -> None:
        await self._beneath.aclose()


def _storage_is_lost(label: str) -> Exception:
    """What the app's own storage classes make of a service that does not answer."""
    return UnavailableError(f"Storage did not answer ({label})")


class CutTables(Tables):
    """Table Storage through a knife."""

    def __init__(self, knife: Knife, beneath: MemoryTables) -> None:
        self._knife = knife
        self._beneath = beneath
        self.requests = {}

    @override
    async def aclose(self) -> None:
        """What lies beneath outlives this process."""

    @override
    async def ensure(self) -> None:
        """The tables are there."""

    @override
    async def get(self, table: str, partition: str, key: str) -> Row | None:
        return await self._knife.call(f"table get {table}", lambda: self._beneath.get(table, partition, key), _storage_is_lost)

    @override
    async def query(
        self,
        table: str,
        condition: str = "",
        parameters: Mapping[str, Any] | None = None,
        *,
        select: Sequence[str] | None = None,
        limit: int = 0,
    ) -> list[Row]:
        return await self._knife.call(
            f"table query {table}",
            lambda: self._beneath.query(table, condition, parameters, select=select, limit=limit),
            _storage_is_lost,
        )

    @override
    async def page(
        self, table: str, condition: str, parameters: Mapping[str, Any], *, size: int, token: dict[str, str] | None
    ) -> tuple[list[Row], dict[str, str] | None]:
        return await self._knife.call(
            f"table query {table}",
            lambda: self._beneath.page(table, condition, parameters, size=size, token=token),
            _storage_is_lost,
        )

    @override
    async def delete(self, table: str, partition: str, key: str, etag: str = "") -> None:
        await self._knife.call(
            f"table delete {table}", lambda: self._beneath.delete(table, partition, key, etag), _storage_is_lost
        )

    @override
    async def transact(self, table: str, operations: Sequence[Operation]) -> list[str]:
        return await self._knife.call(
            f"table transaction {table}", lambda: self._beneath.transact(table, operations), _storage_is_lost
        )

    @override
    async def _write(self, table: str, verb: str, row: Mapping[str, Any], etag: str = "") -> str:
        return await self._knife.call(
            f"table {verb} {table}", lambda: self._beneath._write(table, verb, row, etag), _storage_is_lost
        )


class CutQueues(Queues):
    """Queue Storage through a knife."""

    def __init__(self, knife: Knife, beneath: MemoryQueues) -> None:
        self._knife = knife
        self._beneath = beneath

    @override
    async def aclose(self) -> None:
        """What lies beneath outlives this process."""

    @override
    async def send_text(self, queue: str, text: str, *, delay: float = 0.0) -> None:
        await self._knife.call(f"queue send {queue}", lambda: self._beneath.send_text(queue, text, delay=delay), _storage_is_lost)

    @override
    async def lengths(self, queues: Iterable[str]) -> dict[str, int]:
        return await self._beneath.lengths(queues)

    @override
    async def backlog(self, queue: str) -> Backlog:
        return await self._knife.call(f"queue peek {queue}", lambda: self._beneath.backlog(queue), _storage_is_lost)
