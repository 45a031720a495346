"""What limits how much the instance serves: semaphores, sessions, rate-limit rules, and modelled service time.

Sources: KB0635977 and KB0635398 (API_INT: 4 at a time and a queue of 50 on a node, 429 beyond), KB0655956 (10 waiters
on a session, 202 beyond), ServiceNow docs, "Inbound REST API rate limiting".
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .answers import ApiAnswer, RefusalError, refused
from .dictionary import sys_id_of

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterable

    from .access import Caller
    from .config import InstanceConfig, RateLimitRule
    from .instance import Instance

HOUR: Final = 3600


class QueueFullError(Exception):
    """Every slot is taken and the queue for them is full."""


class SessionBusyError(Exception):
    """Too many requests wait for the session's turn."""


class Pace:
    """Modelled service time of one transaction, free of drift: sleeping too long once shortens the next sleep."""

    __slots__ = ("_loop", "_started", "planned")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.planned = 0.0

    async def spend(self, seconds: float) -> None:
        """Return when the transaction has lasted for what was spent so far plus ``seconds``."""
        self.planned += seconds
        left = self._started + self.planned - self._loop.time()
        if left > 0:
            await asyncio.sleep(left)


def service_time(config: InstanceConfig, method: str, chance: random.Random) -> float:
    """Return how long a call works on the instance, in seconds."""
    base = config.latency_query if method in {"GET", "HEAD"} else config.latency_write
    return base * (1 + config.latency_jitter * chance.uniform(-1, 1)) if base and config.latency_jitter else base


class Semaphores:
    """The slots for transactions in progress and the queue in front of them, first come first served."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._queue: deque[asyncio.Future[None]] = deque()
        self.active = 0
        self.busy_seconds = 0.0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Pace]:
        """Hold a slot; raise QueueFullError, or TimeoutError if the transaction's time was over in the queue."""
        await self._enter()
        pace = Pace()
        try:
            yield pace
        finally:
            self.busy_seconds += pace.planned
            self.active -= 1
            self._admit()

    async def _enter(self) -> None:
        config = self._instance.config
        if self.active < config.concurrency and not self._queue:
            self.active += 1
            return
        if len(self._queue) >= config.queue_length:
            raise QueueFullError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(config.table_time_limit):
                await asyncio.shield(turn)
        except BaseException:
            if turn.done():
                self.active -= 1
                self._admit()
            else:
                self._queue.remove(turn)
            raise

    def _admit(self) -> None:
        while self._queue and self.active < self._instance.config.concurrency:
            self.active += 1
            self._queue.popleft().set_result(None)


@dataclass(slots=True)
class _Session:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    present: int = 0


class Sessions:
    """One transaction at a time for each HTTP session."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._sessions: dict[str, _Session] = {}

    @asynccontextmanager
    async def turn(self, cookie: str) -> AsyncIterator[None]:
        """Wait for the session's turn; raise SessionBusyError if too many wait. Without a cookie nothing is waited for."""
        if not cookie:
            yield
            return
        session = self._sessions.setdefault(cookie, _Session())
        if session.present > self._instance.config.session_waiters:
            raise SessionBusyError
        session.present += 1
        try:
            async with session.lock:
                yield
        finally:
            session.present -= 1
            if not session.present:
                self._sessions.pop(cookie, None)


class RateLimits:
    """Counts requests of each user by rule in hours of the clock."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._counts: Counter[tuple[str, str, int]] = Counter()

    def check(self, caller: Caller, api: str, table: str, requests: int = 1) -> tuple[dict[str, str], ApiAnswer | None]:
        """Count the request; return the headers of the rule that matched and, if it is exceeded, the refusal."""
        rule = _applicable(self._instance.config.rate_limits, caller, api, table)
        if rule is None:
            return {}, None
        now = self._instance.clock()
        hour = int(now // HOUR)
        key = (rule.name, caller.user_name, hour)
        if self._counts and next(iter(self._counts))[2] != hour:
            self._counts.clear()
        headers = {
            "X-RateLimit-Limit": str(rule.per_hour),
            "X-RateLimit-Reset": str((hour + 1) * HOUR),
            "X-RateLimit-Rule": sys_id_of("rate limit", rule.name),
        }
        if self._counts[key] + requests > rule.per_hour:
            detail = f"Rate limit of {rule.per_hour} requests per hour for {api} exceeded"
            headers["Retry-After"] = str(max(int((hour + 1) * HOUR - now), 1))
            return headers, refused(RefusalError(429, "Rate limit exceeded", detail), headers)
        self._counts[key] += requests
        return headers, None


def _applicable(rules: Iterable[RateLimitRule], caller: Caller, api: str, table: str) -> RateLimitRule | None:
    fitting = [rule for rule in rules if rule.api in {"", api} and rule.table in {"", table}]
    own = [rule for rule in fitting if rule.user_name and rule.user_name == caller.user_name]
    by_role = [rule for rule in fitting if not rule.user_name and rule.role in caller.roles]
    for_all = [rule for rule in fitting if not rule.user_name and not rule.role]
    chosen = own or by_role or for_all
    return min(chosen, key=lambda rule: rule.per_hour, default=None)
