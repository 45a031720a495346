"""Timer triggers: each occurrence once over all hosts, never two of one timer at a time, a missed one made up for.

Source: Azure Functions docs, "Timer trigger for Azure Functions"; "Azure Functions error handling and retries" for ``retry``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from sandbox.host.occurrences import Occurrence, OccurrenceStore
from sandbox.host.runtime import Datum
from sandbox.host.supervision import pause, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.host.bindings import Function, TimerTrigger
    from sandbox.host.invocations import Invoker
    from sandbox.host.runtime import Outcome

_log = logging.getLogger(__name__)

# An occurrence this much late was missed: nobody was there to run it.
_TOLERANCE = timedelta(seconds=2)
# How often a host that finds a timer running elsewhere looks again, in seconds.
_CONTENDED_PAUSE = 1.0
_RENEWALS_PER_LEASE = 3


class TimerListener:
    """Runs one function on its schedule. ``lease``: seconds after which a dead host's occurrence may be taken over."""

    def __init__(
        self,
        function: Function,
        trigger: TimerTrigger,
        store: OccurrenceStore,
        invoker: Invoker,
        *,
        owner: str,
        lease: float,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._store = store
        self._invoker = invoker
        self._owner = owner
        self._lease = timedelta(seconds=lease)
        self._stopping = asyncio.Event()
        self._started = datetime.now(UTC)
        self._initialized = False

    async def run(self) -> None:
        """Wait for occurrences and run them until ``stop``; returns when the one under way has ended."""
        await supervise(f"Timer '{self._function.name}'", self._step, self._stopping)

    def stop(self) -> None:
        """Start no more occurrences."""
        self._stopping.set()

    async def _step(self) -> None:
        if not self._initialized:
            await self._initialize()
        occurrence = await self._store.read(self._function.name)
        if occurrence is None or occurrence.schedule != self._trigger.schedule.text:
            await self._schedule_first(occurrence)
            return
        now = datetime.now(UTC)
        if occurrence.due > now:
            # In slices: another host may have moved the row on, and the clock may have been set.
            await pause(self._stopping, min((occurrence.due - now).total_seconds(), 60.0))
        elif occurrence.leased_until > now:
            await pause(self._stopping, min((occurrence.leased_until - now).total_seconds(), _CONTENDED_PAUSE))
        else:
            await self._run_if_first(occurrence)

    async def _initialize(self) -> None:
        await self._store.create_table()
        occurrence = await self._store.read(self._function.name)
        current = occurrence is not None and occurrence.schedule == self._trigger.schedule.text
        now = datetime.now(UTC)
        if self._trigger.run_on_startup:
            due = Occurrence(self._trigger.schedule.text, now) if occurrence is None else replace(occurrence, due=now)
            if due.leased_until <= now:
                await self._run_if_first(replace(due, schedule=self._trigger.schedule.text))
        elif occurrence is not None and current and not self._trigger.use_monitor and occurrence.due < self._started - _TOLERANCE:
            # Without the monitor, what was missed while no host ran is forgotten.
            await self._schedule_first(occurrence)
        self._initialized = True

    async def _schedule_first(self, occurrence: Occurrence | None) -> None:
        """Write the row of a new timer, or of one whose schedule was changed; if another host was first its row counts."""
        now = datetime.now(UTC)
        text, due = self._trigger.schedule.text, self._trigger.schedule.next_after(now)
        row = Occurrence(text, due) if occurrence is None else replace(occurrence, schedule=text, due=due)
        await self._store.write(self._function.name, replace(row, updated=now))

    async def _run_if_first(self, occurrence: Occurrence) -> None:
        now = datetime.now(UTC)
        leased = await self._store.write(
            self._function.name,
            replace(occurrence, owner=self._owner, leased_until=now + self._lease),
        )
        if leased is None:
            return
        past_due = now - occurrence.due > _TOLERANCE
        lease = _Lease(self._store, self._function.name, leased, self._lease)
        cancelled = True
        try:
            async with lease.renewed():
                await self._run_with_retries(leased, past_due=past_due)
            cancelled = False
        finally:
            # A run that was cut off counts as not run: the next host finds it overdue.
            now = datetime.now(UTC)
            following = replace(lease.occurrence, last=leased.due, due=self._trigger.schedule.next_after(now), updated=now)
            await self._store.write(
                self._function.name,
                replace(lease.occurrence if cancelled else following, owner="", leased_until=now),
            )

    async def _run_with_retries(self, occurrence: Occurrence, *, past_due: bool) -> None:
        policy = self._function.indexed.retry
        retries = 0
        while True:
            outcome = await self._run_once(occurrence, past_due=past_due, retry_count=retries)
            if outcome.error is None or policy is None or retries == policy.max_retries:
                return
            wait = min(policy.minimum * 2.0**retries * random.uniform(0.8, 1.2), policy.maximum)
            retries += 1
            if await pause(self._stopping, max(policy.minimum, wait)):
                return

    async def _run_once(self, occurrence: Occurrence, *, past_due: bool, retry_count: int) -> Outcome:
        return await self._invoker.run(
            self._function,
            timer_datum(self._trigger, occurrence, past_due=past_due),
            {},
            reason=f"Timer fired at {datetime.now(UTC).isoformat()}",
            retry_count=retry_count,
        )


class _Lease:
    """Keeps a timer's row leased while its function runs; ``occurrence`` is the row as last written."""

    def __init__(self, store: OccurrenceStore, timer: str, occurrence: Occurrence, length: timedelta) -> None:
        self._store = store
        self._timer = timer
        self._length = length
        self.occurrence = occurrence

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew in the background while the block runs."""
        done = asyncio.Event()
        renewal = asyncio.create_task(self._renew_until(done))
        try:
            yield
        finally:
            done.set()
            await renewal

    async def _renew_until(self, done: asyncio.Event) -> None:
        while not await pause(done, self._length.total_seconds() / _RENEWALS_PER_LEASE):
            try:
                until = datetime.now(UTC) + self._length
                renewed = await self._store.write(self._timer, replace(self.occurrence, leased_until=until))
            except AzureError as error:
                _log.warning("The lease of timer '%s' could not be renewed: %s", self._timer, error)
                continue
            if renewed is None:
                _log.warning("Timer '%s' was taken over by another host while it ran here", self._timer)
                return
            self.occurrence = renewed


def timer_datum(trigger: TimerTrigger, occurrence: Occurrence | None, *, past_due: bool) -> Datum:
    """What the function's TimerRequest is made from: schedule, status, whether it runs later than scheduled."""
    now = datetime.now(UTC)
    last = occurrence.last if occurrence is not None else None
    status = {
        "Last": (last or datetime.min.replace(tzinfo=UTC)).isoformat(),
        "Next": trigger.schedule.next_after(now).isoformat(),
        "LastUpdated": (occurrence.updated if occurrence is not None else now).isoformat(),
    }
    document = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return Datum(json.dumps(document), "json")
