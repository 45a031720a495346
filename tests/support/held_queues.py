"""Queues whose delays run by the test's clock, and that can be told to fail.

A message with a delay is kept here and put into its real queue when the clock says so: the order of things is that of
production, the waiting is not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import UnavailableError
from shared.state.queues import Queues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from azure.storage.queue.aio import QueueServiceClient

    from tests.support.clock import Clock


@dataclass(frozen=True, slots=True)
class Held:
    """A message that is not visible yet."""

    due: datetime
    queue: str
    text: str


class HeldQueues(Queues):
    """``refuses`` is asked for each message, with the queue's name and the text; where it says yes, sending fails."""

    def __init__(self, service: QueueServiceClient, clock: Clock) -> None:
        super().__init__(service)
        self._clock = clock
        self.held: list[Held] = []
        self.sent: Counter[str] = Counter()
        self.refuses: Callable[[str, str], bool] = lambda _queue, _text: False
        self._is_closed = False

    async def aclose(self) -> None:
        """Two workers may share these queues: the second close does nothing."""
        if not self._is_closed:
            self._is_closed = True
            await super().aclose()

    async def send_text(self, queue: str, text: str, *, delay: float = 0.0) -> None:
        if self.refuses(queue, text):
            raise UnavailableError(f"the test lets sending to {queue} fail")
        self.sent[queue] += 1
        if delay > 0:
            self.held.append(Held(self._clock() + timedelta(seconds=delay), queue, text))
        else:
            await super().send_text(queue, text)

    async def lengths(self, queues: Iterable[str]) -> dict[str, int]:
        """What an operator sees: messages that are not visible yet count."""
        names = list(queues)
        hidden = Counter(message.queue for message in self.held)
        return {name: number + hidden[name] for name, number in (await super().lengths(names)).items()}

    async def visible(self, queues: Iterable[str]) -> int:
        """How many messages can be taken, or are being processed."""
        return sum((await super().lengths(queues)).values())

    @property
    def next_due(self) -> datetime | None:
        return min((message.due for message in self.held), default=None)

    async def release(self) -> bool:
        """Make visible what is due; whether there was any."""
        at = self._clock()
        due = [message for message in self.held if message.due <= at]
        self.held = [message for message in self.held if message.due > at]
        for message in sorted(due, key=lambda message: message.due):
            await super().send_text(message.queue, message.text)
        return bool(due)
