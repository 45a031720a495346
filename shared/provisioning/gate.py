"""One gate to ServiceNow for all instances of the app together.

A node of ServiceNow serves four API requests at a time for everybody (KB0635977), so the bound must hold over all workers.
Inside a worker ``AdaptiveGate`` bounds and slows down; over all workers slots are leased in Table Storage
(``shared.state.slots``).
A Retry-After that one worker receives is written to the job's row and respected by all.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import ThrottledError
from shared.events import now
from shared.servicenow.gate import AdaptiveGate
from shared.state.slots import SLOT_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from datetime import datetime

    from shared.state.job import Job, Jobs
    from shared.state.slots import SlotLease, Slots

#: How often a busy worker renews its slots, in seconds: several times within a lease (``SLOT_SECONDS``).
_RENEW = 6.0
#: How long a worker without any slot looks for one before its event goes back to the queue, in seconds.
_PATIENCE = 5.0
_LOOK_AGAIN = 0.25
#: Unused slots are given back after this time, in seconds, so that other workers need not wait for the lease to end.
_IDLE = 3.0
#: A shorter Retry-After than this is a matter of the worker that received it, in seconds.
_SHARED_PAUSE = 3.0


class SharedGate:
    """``shared.servicenow.gate.Gate`` over all workers."""

    def __init__(self, slots: Slots, jobs: Jobs, limit: int, clock: Callable[[], datetime] = now) -> None:
        self._slots = slots
        self._jobs = jobs
        self._limit = limit
        self._clock = clock
        self._local = AdaptiveGate(limit)
        self._free: list[SlotLease] = []
        self._lent: list[SlotLease] = []
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
            lease = await self._borrow()
            try:
                yield
            finally:
                await self._take_back(lease.number)

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
        free, self._free = self._free, []
        await self._slots.give_back(free)

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

    async def _borrow(self) -> SlotLease:
        deadline = self._clock() + timedelta(seconds=_PATIENCE)
        while True:
            lease = self._lend()
            if lease is not None:
                return lease
            async with self._taking:
                lease = self._lend()
                if lease is not None:
                    return lease
                await self._refill()
                lease = self._lend()
                if lease is not None:
                    return lease
            if self._lent:
                await self._wait_for_return()
            elif self._clock() > deadline:
                raise ThrottledError("other workers hold all slots to ServiceNow", retry_after=2.0)
            else:
                await asyncio.sleep(_LOOK_AGAIN)

    def _lend(self) -> SlotLease | None:
        """Lend a free slot whose lease still runs."""
        at = self._clock()
        while self._free:
            lease = self._free.pop()
            if lease.until > at:
                self._lent.append(lease)
                self._used_at = at
                return lease
        return None

    async def _take_back(self, number: int) -> None:
        self._used_at = self._clock()
        for index, lease in enumerate(self._lent):
            if lease.number == number:
                self._free.append(self._lent.pop(index))
                break
        async with self._returned:
            self._returned.notify()

    async def _refill(self) -> None:
        """Take as many slots as may be had."""
        self._free.extend(await self._slots.take(self._limit - len(self._lent), len(self._lent)))
        if self._keeper is None or self._keeper.done():
            self._keeper = self._spawn(self._keep())

    async def _keep(self) -> None:
        """Renew what is in use, give back what is not; ends when nothing is left."""
        while self._free or self._lent:
            await asyncio.sleep(_RENEW / 2 if self._lent else _IDLE)
            if not self._lent and self._clock() - self._used_at >= timedelta(seconds=_IDLE):
                free, self._free = self._free, []
                await self._slots.give_back(free)
            elif any(
                lease.until - self._clock() < timedelta(seconds=SLOT_SECONDS - _RENEW) for lease in (*self._lent, *self._free)
            ):
                await self._renew()

    async def _renew(self) -> None:
        """Renew all; a slot in use that was lost is simply not lent again, its request goes on."""
        renewed = {lease.number: lease for lease in await self._slots.renew([*self._lent, *self._free])}
        self._lent = [renewed.get(lease.number, lease) for lease in self._lent]
        self._free = [renewed[lease.number] for lease in self._free if lease.number in renewed]

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
