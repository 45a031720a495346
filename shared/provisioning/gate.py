"""One gate to ServiceNow for all instances of the app together.

A node of ServiceNow serves four API requests at a time for everybody (KB0635977), so the bound must hold over all workers.
Inside a worker ``AdaptiveGate`` bounds and slows down; over all workers slots are leased in Table Storage
(``shared.state.slots``).
A Retry-After that one worker receives is written to the job's row and respected by all.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import RetryableError, ThrottledError, UnavailableError
from shared.events import now
from shared.servicenow.gate import AdaptiveGate
from shared.state.slots import SLOT_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from datetime import datetime

    from shared.state.job import Job, Jobs
    from shared.state.slots import SlotLease, Slots

log = logging.getLogger("provisioning.gate")

#: How often a busy worker renews its slots, in seconds: several times within a lease (``SLOT_SECONDS``).
_RENEW = 6.0
#: How long a worker without any slot looks for one before its event goes back to the queue, in seconds.
_PATIENCE = 5.0
_LOOK_AGAIN = 0.25
#: Unused slots are given back after this time, in seconds, so that other workers need not wait for the lease to end.
_IDLE = 3.0
#: A shorter Retry-After than this is a matter of the worker that received it, in seconds.
_SHARED_PAUSE = 3.0


@dataclass(slots=True, eq=False)
class _Place:
    """Room for one request. ``lease`` is renewed while a request uses it, and None once it was lost."""

    number: int
    lease: SlotLease | None


class SharedGate:
    """``shared.servicenow.gate.Gate`` over all workers."""

    def __init__(self, slots: Slots, jobs: Jobs, limit: int, clock: Callable[[], datetime] = now) -> None:
        self._slots = slots
        self._jobs = jobs
        self._limit = limit
        self._clock = clock
        self._local = AdaptiveGate(limit, clock=lambda: clock().timestamp())
        self._free: list[_Place] = []
        self._lent: list[_Place] = []
        #: Slots in use that others are entitled to: they are given back as requests end.
        self._owed = 0
        self._taking = asyncio.Lock()
        self._returned = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._used_at = clock()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the app's slots while a request is under way. Raises ``ThrottledError`` when none can be had soon."""
        await self._respect_pause()
        async with self._local.slot():
            place = await self._borrow()
            try:
                yield
            finally:
                await self._take_back(place)

    def slow_down(self, retry_after: float | None) -> None:
        """The instance complained; a long Retry-After is shared with all workers."""
        self._local.slow_down(retry_after)
        if retry_after is not None and retry_after > _SHARED_PAUSE:
            self._spawn(self._share_pause(self._clock() + timedelta(seconds=retry_after)))

    def succeeded(self) -> None:
        self._local.succeeded()

    async def aclose(self) -> None:
        """Give everything back."""
        if self._keeper is not None:
            self._keeper.cancel()
        for task in list(self._tasks):
            task.cancel()
        try:
            await self._give_back_free()
        except RetryableError as error:
            log.info("slots to ServiceNow are not given back and end by themselves: %s", error.reason)

    async def _respect_pause(self) -> None:
        job = await self._jobs.get()
        if job.not_before is not None:
            remaining = (job.not_before - self._clock()).total_seconds()
            if remaining > 0:
                raise ThrottledError("ServiceNow asked all of us to wait (Retry-After)", retry_after=remaining)

    async def _share_pause(self, until: datetime) -> None:
        def later(job: Job) -> Job | None:
            return replace(job, not_before=until) if job.not_before is None or job.not_before < until else None

        await self._jobs.change(later)

    async def _borrow(self) -> _Place:
        deadline = self._clock() + timedelta(seconds=_PATIENCE)
        while True:
            place = self._lend()
            if place is not None:
                return place
            async with self._taking:
                place = self._lend()
                if place is not None:
                    return place
                await self._refill()
                place = self._lend()
                if place is not None:
                    return place
            if self._lent:
                await self._wait_for_return()
            elif self._clock() > deadline:
                raise ThrottledError("other workers hold all slots to ServiceNow", retry_after=2.0)
            else:
                await asyncio.sleep(_LOOK_AGAIN)

    def _lend(self) -> _Place | None:
        """Lend a free slot whose lease still runs."""
        at = self._clock()
        while self._free:
            place = self._free.pop()
            if place.lease is not None and place.lease.until > at:
                self._lent.append(place)
                self._used_at = at
                return place
        return None

    async def _take_back(self, place: _Place) -> None:
        self._used_at = self._clock()
        self._lent.remove(place)
        if self._owed:
            self._owed -= 1
            self._spawn(self._give_back([place]))
        elif place.lease is not None:
            self._free.append(place)
        async with self._returned:
            self._returned.notify()

    async def _refill(self) -> None:
        """Take as many slots as may be had."""
        taken = await self._slots.take(self._limit - len(self._lent), {place.number for place in self._lent})
        self._free.extend(_Place(lease.number, lease) for lease in taken)
        if self._keeper is None or self._keeper.done():
            self._keeper = self._spawn(self._keep())

    async def _keep(self) -> None:
        """Renew what is in use, give back what is not; ends when nothing is left."""
        while self._free or self._lent:
            await asyncio.sleep(_RENEW / 2 if self._lent else _IDLE)
            try:
                if not self._lent and self._clock() - self._used_at >= timedelta(seconds=_IDLE):
                    await self._give_back_free()
                elif self._is_renewal_due():
                    await self._renew()
            except UnavailableError as error:
                log.warning("slots to ServiceNow could not be renewed: %s", error.reason)

    def _is_renewal_due(self) -> bool:
        soon = self._clock() + timedelta(seconds=SLOT_SECONDS - _RENEW)
        return any(place.lease is not None and place.lease.until < soon for place in (*self._lent, *self._free))

    async def _renew(self) -> None:
        """Renew all but what exceeds a fair share. The request of a lost slot goes on; the slot is not lent again."""
        async with self._taking:
            excess = max(0, len(self._lent) + len(self._free) - await self._slots.share())
            spare, self._free = self._free[:excess], self._free[excess:]
            self._owed = min(len(self._lent), excess - len(spare))
            await self._slots.give_back([place.lease for place in spare if place.lease is not None])
            places = [place for place in (*self._lent, *self._free) if place.lease is not None]
            renewed = {lease.number: lease for lease in await self._slots.renew([place.lease for place in places if place.lease])}
            for place in places:
                place.lease = renewed.get(place.lease.number) if place.lease is not None else None

    async def _give_back_free(self) -> None:
        free, self._free = self._free, []
        await self._give_back(free)

    async def _give_back(self, places: list[_Place]) -> None:
        async with self._taking:
            await self._slots.give_back([place.lease for place in places if place.lease is not None])

    async def _wait_for_return(self) -> None:
        async with self._returned:
            try:
                await asyncio.wait_for(self._returned.wait(), timeout=_LOOK_AGAIN)
            except TimeoutError:
                return

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[None]) -> None:
        """A failure to share a pause or give back a slot costs time, nothing else: leases end by themselves."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
