"""Loops that never end on their own: an error is logged, waited out with back-off, and the loop goes on."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError, ServiceResponseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)
_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
# What an unreachable or refusing storage account raises: one line says it all, a traceback would not help the reader.
_STORAGE_ERRORS = (ClientAuthenticationError, HttpResponseError, ServiceRequestError, ServiceResponseError, OSError)


class Backoff:
    """Randomized exponential back-off between two polls, in seconds.

    The same rule as the Storage extension's RandomizedExponentialBackoffStrategy: the shortest interval after a hit, then
    shortest + (0.8 to 1.2) x 2^n x shortest, at most ``longest``.
    """

    def __init__(self, shortest: float, longest: float, randomness: random.Random | None = None) -> None:
        self._shortest = shortest
        self._longest = longest
        self._random = randomness or random.Random()
        self._misses = 0

    def hit(self) -> None:
        """Something was found: the next delay is the shortest again."""
        self._misses = 0

    def next_delay(self) -> float:
        """The delay after one more miss."""
        if self._misses == 0:
            delay = self._shortest
        else:
            delay = self._shortest + self._random.uniform(0.8, 1.2) * 2.0 ** min(self._misses - 1, 60) * self._shortest
        self._misses += 1
        return min(delay, self._longest)


async def pause(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait; True if the host began to stop meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return False
    return True


async def supervise(subject: str, step: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Call ``step`` again and again until the host stops; ``subject`` names the loop in the log."""
    backoff = Backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE)
    while not stopping.is_set():
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - whatever happened, a listener must not end silently
            seconds = backoff.next_delay()
            trace = None if isinstance(error, _STORAGE_ERRORS) else error
            message = str(error).splitlines()[0] if str(error) else repr(error)
            _log.error("%s: %s; trying again in %.1f s", subject, message, seconds, exc_info=trace)
            await pause(stopping, seconds)
        else:
            backoff.hit()
