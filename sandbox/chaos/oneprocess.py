"""The app in one process on storage in memory, with a clock that jumps to the next message that is due."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from sandbox.chaos.memory import MemoryQueues, MemoryTables, Message
from shared.errors import RetryableError
from shared.events import CYCLE_EVENTS, now
from shared.provisioning.services import Services

if TYPE_CHECKING:
    from datetime import datetime

    from shared.settings import Settings

#: Messages that are due within this time are waited for, in seconds.
PATIENCE: Final = 400.0
_MOST_MESSAGES: Final = 2000
#: How much shorter the engine's own pauses are; only a settling round has any.
_SHORTER: Final = 20.0
#: How long a message of a chain may take before others go on beside it, in seconds.
_BESIDE: Final = 0.1
#: After so many looks at a chain that waits, while nothing else is due, the clock jumps.
_IDLE: Final = 4


class JumpingClock:
    """Call it for the time: the real one, and what it was put forward. It only ever goes forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return now() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let so many seconds have passed."""
        self._ahead += timedelta(seconds=max(0.0, seconds))

    def advance_to(self, moment: datetime) -> None:
        """Let it be at least that late."""
        self.advance((moment - self()).total_seconds())


async def doze(seconds: float) -> None:
    """A pause of the engine's, for a process in which nobody else needs the time."""
    await asyncio.sleep(seconds / _SHORTER)


class OneProcess:
    """``async with OneProcess(settings) as process: await process.cycle()``."""

    def __init__(self, settings: Settings) -> None:
        self.clock = JumpingClock()
        self.tables = MemoryTables()
        self.queues = MemoryQueues(self.clock)
        self._services = Services(settings, tables=self.tables, queues=self.queues, clock=self.clock, sleep=doze)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._services.aclose()

    async def cycle(self) -> None:
        """The cycle's timer fires, and everything that follows from it happens."""
        await self._services.operations.tick()
        await pump(self._services, self.queues, self.clock)


async def pump(services: Services, queues: MemoryQueues, clock: JumpingClock, *, patience: float = PATIENCE) -> None:
    """Handle one message after another until none is due within ``patience`` seconds; the clock jumps to those that are.

    A chain that waits for the messages that it has sent goes on beside them.
    """
    beside: set[asyncio.Task[None]] = set()
    idle = 0
    for _ in range(_MOST_MESSAGES):
        message = queues.take(without={task.get_name() for task in beside})
        if message is not None:
            idle = 0
            handling = asyncio.create_task(_handle(services, queues, message), name=message.queue)
            done, _ = await asyncio.wait({handling}, timeout=_BESIDE if message.queue == CYCLE_EVENTS else None)
            if handling not in done:
                beside.add(handling)
                continue
            await handling
        elif beside:
            done, beside = await asyncio.wait(beside, timeout=_BESIDE)
            for handled in done:
                await handled
            idle = 0 if done else idle + 1
            due = queues.next_due
            if idle >= _IDLE and due is not None and (due - clock()).total_seconds() <= patience:
                # The chain waits for messages that come back later.
                clock.advance_to(due)
        else:
            due = queues.next_due
            if due is None or (due - clock()).total_seconds() > patience:
                return
            clock.advance_to(due)
    raise RuntimeError(f"there is no end of messages: {queues.messages}")


async def _handle(services: Services, queues: MemoryQueues, message: Message) -> None:
    try:
        await services.dispatcher.handle(message.queue, message.text)
    except RetryableError:
        # The job's own row could not be read, or the event not be sent back: the host gives the message out again.
        return
    queues.done(message)
