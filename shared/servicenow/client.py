"""The ServiceNow client: what the engine calls."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from shared.servicenow.reading import Reader
from shared.servicenow.wire import Wire
from shared.servicenow.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    import httpx

    from shared.servicenow.auth import Auth
    from shared.servicenow.gate import Gate
    from shared.servicenow.queries import Condition
    from shared.servicenow.records import Record
    from shared.servicenow.writes import Outcome, Write
    from shared.servicenow.writing import OnSend


class ServiceNowClient:
    """One instance, one identity. Every method raises the tree of ``shared.errors`` and nothing else for what the server does.

    Nothing waits for long in here: a throttled or unavailable instance is an error with ``retry_after``. Timeouts in seconds lie
    above the server's own limits (60 s for the Table API, 30 s for a batch), so that an answer is not missed by us.
    ``clock`` is Unix time in seconds.
    """

    def __init__(
        self,
        instance_url: str,
        auth: Auth,
        *,
        gate: Gate,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeout: float = 65.0,
        batch_timeout: float = 35.0,
    ) -> None:
        self.instance_url = instance_url.rstrip("/")
        self.auth = auth
        self._wire = Wire(instance_url, auth, gate=gate, transport=transport, clock=clock, sleep=sleep)
        self._reader = Reader(self._wire, timeout=timeout, batch_timeout=batch_timeout)
        self._writer = Writer(self._wire, self._reader, timeout=timeout, batch_timeout=batch_timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._wire.aclose()

    @property
    def batches(self) -> bool:
        """Whether several requests travel as one; False for 15 minutes after the instance refused the Batch API as a whole."""
        return not self._wire.batch_refused

    async def select(
        self,
        table: str,
        condition: Condition,
        fields: Iterable[str],
        *,
        page_size: int = 1000,
    ) -> list[Record]:
        """Every visible row that matches, each once; with the fields, ``sys_id`` and the condition's columns.

        Raises UnreadableColumns, and ProtocolError if a row comes back that was not asked for (then nothing is returned).
        """
        return await self._reader.select(table, condition, fields, page_size=page_size)

    async def sample(self, table: str, condition: Condition, fields: Iterable[str] = (), *, limit: int = 20) -> list[Record]:
        """Some rows that match, one page of them; all readable columns if no fields are named. Empty proves nothing."""
        return await self._reader.sample(table, condition, fields, limit=limit)

    async def get(self, table: str, sys_id: str, fields: Iterable[str]) -> Record | None:
        """The record, or None if it does not exist or is hidden from us: the answer is the same for both."""
        return await self._reader.get(table, sys_id, fields)

    async def count(self, table: str, condition: Condition) -> int:
        """Rows that match, by the Aggregate API. No row can be tested: only for columns that are known to exist."""
        return await self._reader.count(table, condition)

    async def try_batch(self) -> None:
        """Send one read through the Batch API, so that :attr:`batches` tells whether it is open to us."""
        await self._reader.try_batch()

    async def write(
        self,
        writes: Sequence[Write],
        *,
        deadline: float | None = None,
        on_send: OnSend | None = None,
    ) -> list[Outcome]:
        """One outcome for each write, in their order. Writes of one call must not depend on each other.

        No request is sent whose timeout would outlast ``deadline`` (Unix time). ``on_send`` is called with the writes of each
        request right before it goes; what it raises, and CredentialsError, are raised from here while no write has an outcome,
        and become outcomes of the writes not sent afterwards. Raises ValueError for names and values that are none.
        """
        return await self._writer.write(writes, deadline=deadline, on_send=on_send)
