"""How many requests may be at the instance at once, and when it wants to be left alone.

An application node serves 4 API requests at a time and queues 50, shared by every integration; the next is refused with 429
(KB0635977). So the limit is small, is halved when the instance complains, and grows back slowly.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from shared.errors import ThrottledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

_LONGEST_NAP = 2.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_ONE_COMPLAINT = 1.0


class Gate(Protocol):
    """What every request to the instance passes through."""

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Hold one place while the request is under way. Entering raises ThrottledError if the wait would be long."""

    def slow_down(self, retry_after: float | None) -> None:
        """The instance complained (429, 202, 503); ``retry_after`` is its wish in seconds, if it stated one."""

    def succeeded(self) -> None:
        """The instance answered as it should."""


class AdaptiveGate:
    """At most ``limit`` requests of this process at once: halved on a complaint, never below 1, one more per round of successes.

    ``max_wait`` bounds, in seconds, how long a request queues for a place. ``clock`` and ``sleep`` count seconds.
    """

    def __init__(
        self,
        limit: int,
        *,
        max_wait: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if limit < 1:
            raise ValueError("a gate needs at least one place")
        self._most = float(limit)
        self._limit = float(limit)
        self._max_wait = max_wait
        self._clock = clock
        self._sleep = sleep
        self._under_way = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._not_before = 0.0
        self._complained_at = float("-inf")
        self._complaints = 0

    @property
    def limit(self) -> int:
        """Requests allowed at once right now."""
        return max(1, int(self._limit))

    @property
    def pause(self) -> float:
        """Seconds for which the instance is still to be left alone; 0 if it is not."""
        return max(0.0, self._not_before - self._clock())

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        self._refuse_long_waits()
        await self._take_place()
        try:
            await self._wait_for_time()
            yield
        finally:
            self._give_back()

    def slow_down(self, retry_after: float | None) -> None:
        now = self._clock()
        if now - self._complained_at >= _ONE_COMPLAINT:
            # Requests that were refused together are one complaint.
            self._limit = max(1.0, self._limit / 2)
            self._complaints += 1
            self._complained_at = now
        pause = retry_after
        if pause is None:
            pause = min(_FIRST_PAUSE * 2 ** max(0, self._complaints - 1), _LONGEST_PAUSE)
            pause *= random.uniform(1.0, 1.25)  # noqa: S311  spreads workers, guards nothing
        self._not_before = max(self._not_before, now + pause)

    def succeeded(self) -> None:
        self._complaints = 0
        self._limit = min(self._most, self._limit + 1.0 / self._limit)
        self._admit()

    async def _take_place(self) -> None:
        if not self._waiters and self._under_way < self.limit:
            self._under_way += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            async with asyncio.timeout(self._max_wait):
                await turn
        except (TimeoutError, asyncio.CancelledError) as stopped:
            if turn.done() and not turn.cancelled():
                self._give_back()
            turn.cancel()
            if isinstance(stopped, asyncio.CancelledError):
                raise
            raise ThrottledError(
                f"no free place for a request to ServiceNow within {self._max_wait:.0f} s",
                retry_after=_LONGEST_NAP,
                recommended_action="Raise SERVICENOW_MAX_CONCURRENCY if the instance can bear it.",
            ) from None

    def _give_back(self) -> None:
        self._under_way -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiters and self._under_way < self.limit:
            turn = self._waiters.popleft()
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)

    async def _wait_for_time(self) -> None:
        while (wait := self._refuse_long_waits()) > 0:
            await self._sleep(wait)

    def _refuse_long_waits(self) -> float:
        wait = self.pause
        if wait > _LONGEST_NAP:
            raise ThrottledError(f"ServiceNow asked to be left alone for another {wait:.0f} s", retry_after=wait)
        return wait
