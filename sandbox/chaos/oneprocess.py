"""The app in one process on storage in memory, with a clock that jumps to the next message that is due."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from sandbox.chaos.memory import MemoryQueues, MemoryTables, Message
from shared.errors import RetryableError
from shared.events import now
from shared.provisioning.services import Services

if TYPE_CHECKING:
    from datetime import datetime

    from shared.settings import Settings

#: Messages that are due within this time are waited for, in seconds.
PATIENCE: Final = 400.0
_MOST_TURNS: Final = 4000


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


class Pauses:
    """The engine's own pauses: ``Services(sleep=pauses)``. One is over when the clock has come to its end and ``pump`` says so.

    Only a chain pauses, and there is one message of a chain at a time, so there is one pause at a time.
    """

    def __init__(self, clock: JumpingClock) -> None:
        self._clock = clock
        self._over: asyncio.Future[None] | None = None
        self._begun = asyncio.Event()
        #: When the present pause is over; None when nobody pauses.
        self.end: datetime | None = None

    async def __call__(self, seconds: float) -> None:
        if self.end is not None:
            raise RuntimeError("two chains pause in one process, and nobody knows whose turn it is")
        self.end = self._clock() + timedelta(seconds=seconds)
        self._over = asyncio.get_running_loop().create_future()
        self._begun.set()
        try:
            await self._over
        finally:
            self.end = self._over = None

    def finish(self) -> None:
        """Let whoever pauses go on."""
        if self._over is not None:
            self._over.set_result(None)

    async def work(self, task: asyncio.Task[None]) -> bool:
        """Let this task go on until it pauses or is done; True when it is done, and its error if it has one."""
        self._begun.clear()
        begun = asyncio.create_task(self._begun.wait())
        await asyncio.wait({task, begun}, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if task.done():
            await task
        return task.done()


class OneProcess:
    """``async with OneProcess(settings) as process: await process.cycle()``."""

    def __init__(self, settings: Settings) -> None:
        self.clock = JumpingClock()
        self.tables = MemoryTables()
        self.queues = MemoryQueues(self.clock)
        self._pauses = Pauses(self.clock)
        self._services = Services(settings, tables=self.tables, queues=self.queues, clock=self.clock, sleep=self._pauses)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._services.aclose()

    async def cycle(self) -> None:
        """The cycle's timer fires, and everything that follows from it happens."""
        await self._services.operations.tick()
        await pump(self._services, self.queues, self.clock, self._pauses)


async def pump(
    services: Services, queues: MemoryQueues, clock: JumpingClock, pauses: Pauses, *, patience: float = PATIENCE
) -> None:
    """Handle one message after another until none is due within ``patience`` seconds; the clock jumps to those that are.

    One thing happens at a time: a chain that pauses goes on when no other message is due before its pause is over. The clock
    never jumps while anything is being done, so that a slow machine sees what a fast one does.
    """
    pausing: asyncio.Task[None] | None = None
    try:
        for _ in range(_MOST_TURNS):
            others = () if pausing is None else (pausing.get_name(),)
            message = queues.take(without=others)
            due = queues.next_due(without=others)
            if message is not None:
                handling = asyncio.create_task(_handle(services, queues, message), name=message.queue)
                pausing = pausing if await pauses.work(handling) else handling
            elif pausing is not None and pauses.end is not None and (due is None or pauses.end <= due):
                clock.advance_to(pauses.end)
                pauses.finish()
                pausing = None if await pauses.work(pausing) else pausing
            elif due is not None and (due - clock()).total_seconds() <= patience:
                clock.advance_to(due)
            else:
                return
    finally:
        if pausing is not None:
            pausing.cancel()
            await asyncio.gather(pausing, return_exceptions=True)
    raise RuntimeError(f"there is no end of messages: {queues.messages}")


async def _handle(services: Services, queues: MemoryQueues, message: Message) -> None:
    try:
        await services.dispatcher.handle(message.queue, message.text)
    except RetryableError:
        # The job's own row could not be read, or the event not be sent back: the host gives the message out again.
        return
    queues.done(message)
