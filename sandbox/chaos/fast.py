"""The engine in fast motion: its clock, its queues' delays and its requests' limits are all shorter by the same factor.

A lease lasts 150 s and a request may take 65 s; a history that waits for them in real time would take half an hour. What the app
measures by its own clock is measured by a faster one; what others measure for it (the queues' delays, the time that a request
is waited for) is divided by the same rate. So every interval keeps its relation to every other one.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, override

import httpx

from shared.events import new_id
from shared.provisioning.gate import SharedGate
from shared.provisioning.services import Services
from shared.state.job import Jobs
from shared.state.queues import Queues
from shared.state.slots import Slots
from shared.state.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.settings import Settings, Storage

_RATE: Final = "SANDBOX_TIME_RATE"
_EPOCH: Final = "SANDBOX_TIME_EPOCH"
#: How long the app waits for an answer of ServiceNow (its client's own limits), in seconds of its time.
_BATCH_LIMIT: Final = 35.0
_REQUEST_LIMIT: Final = 65.0
#: The gate looks after its slots by the event loop's time, every 3 s, leases them for 20 s and notes for 15 s that it wants one:
#: its clock may run this much faster and no more, or a worker without a slot would not be heard.
_GATE_RATE: Final = 2.0


@dataclass(frozen=True, slots=True)
class FastClock:
    """Call it for the time: right at ``epoch`` (Unix time), and running ``rate`` times as fast from there."""

    epoch: float
    rate: float

    def __call__(self) -> datetime:
        real = datetime.now(UTC)
        begin = datetime.fromtimestamp(self.epoch, UTC)
        return begin + (real - begin) * self.rate

    def real(self, at: datetime) -> datetime:
        """When, in real time, the clock shows this."""
        begin = datetime.fromtimestamp(self.epoch, UTC)
        return begin + timedelta(seconds=(at - begin).total_seconds() / self.rate)

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that are to have the same time."""
        return {_RATE: repr(self.rate), _EPOCH: repr(self.epoch)}

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> FastClock:
        """The clock that was passed on; raises KeyError if none was."""
        return cls(float(environment[_EPOCH]), float(environment[_RATE]))


class FastQueues(Queues):
    """Queues whose delays are shorter. ``rate`` is set once they are open; a queue's shortest delay is a second."""

    rate = 1.0

    @override
    async def send_text(self, queue: str, text: str, *, delay: float = 0.0) -> None:
        await super().send_text(queue, text, delay=max(1.0, delay / self.rate) if delay > 0 else 0.0)

    @classmethod
    def open_fast(cls, storage: Storage, rate: float) -> FastQueues:
        """As ``open`` does."""
        queues = cls.open(storage)
        assert isinstance(queues, cls)  # noqa: S101 - made by this very class; says so to the type checker
        queues.rate = rate
        return queues


class ImpatientTransport(httpx.AsyncBaseTransport):
    """Gives up on an answer as early as the fast clock demands."""

    def __init__(self, rate: float, beneath: httpx.AsyncBaseTransport | None = None) -> None:
        self._rate = rate
        self._beneath = beneath or httpx.AsyncHTTPTransport()

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        limit = _BATCH_LIMIT if request.url.path.endswith("/batch") else _REQUEST_LIMIT
        try:
            async with asyncio.timeout(limit / self._rate):
                response = await self._beneath.handle_async_request(request)
                await response.aread()
                return response
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in fast motion", request=request) from None

    @override
    async def aclose(self) -> None:
        await self._beneath.aclose()


def open_fast_services(settings: Settings) -> Services:
    """A worker's engine, with the clock of this process's environment."""
    clock = FastClock.of(os.environ)
    tables = Tables.open(settings.storage)
    slow = FastClock(clock.epoch, min(clock.rate, _GATE_RATE))
    limit = settings.servicenow.max_concurrency
    worker = f"{os.getpid()}-{new_id()[:8]}"
    return Services(
        settings,
        tables=tables,
        queues=FastQueues.open_fast(settings.storage, clock.rate),
        servicenow_transport=ImpatientTransport(clock.rate),
        gate=SharedGate(Slots(tables, limit, worker, slow), Jobs(tables, slow), limit, slow),
        clock=clock,
    )
