"""The app's storage in memory: for runs in one process, which make thousands of fresh starts and need no server for them.

Both behave as storage does where the app can tell: rows with ETags, transactions of one partition, delays by the app's clock,
messages that come back when whoever took them is gone.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, override

from shared.state.queues import Backlog, Queues
from shared.state.recorded_tables import RecordedTables
from shared.state.tables import Row, Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime


class _NoTables(Tables):
    """What lies beneath tables in memory: nothing."""

    def __init__(self) -> None:
        self.requests = {}

    @override
    async def get(self, table: str, partition: str, key: str) -> Row | None:
        return None

    @override
    async def query(
        self,
        table: str,
        condition: str = "",
        parameters: Mapping[str, Any] | None = None,
        *,
        select: Sequence[str] | None = None,
        limit: int = 0,
    ) -> list[Row]:
        return []


class MemoryTables(RecordedTables):
    """The app's tables without storage."""

    def __init__(self) -> None:
        super().__init__(_NoTables())

    @override
    async def page(
        self, table: str, condition: str, parameters: Mapping[str, Any], *, size: int, token: dict[str, str] | None
    ) -> tuple[list[Row], dict[str, str] | None]:
        rows = await self.query(table, condition, parameters)
        start = 0 if token is None else bisect.bisect_left([_key(row) for row in rows], _token_key(token))
        following = rows[start + size] if start + size < len(rows) else None
        page = rows[start : start + size]
        return page, None if following is None else {"PartitionKey": _key(following)[0], "RowKey": _key(following)[1]}


@dataclass(frozen=True, slots=True)
class Message:
    """A message and the moment from which it may be taken."""

    number: int
    due: datetime
    queue: str
    text: str


class MemoryQueues(Queues):
    """The app's queues without storage. ``take`` gives the next message that is due; ``done`` deletes it."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._messages: dict[int, Message] = {}
        self._sent = 0
        self.counts: Counter[str] = Counter()

    @override
    async def aclose(self) -> None:
        """There is nothing to close."""

    @override
    async def send_text(self, queue: str, text: str, *, delay: float = 0.0) -> None:
        self._sent += 1
        self.counts[queue] += 1
        due = self._clock() + timedelta(seconds=max(0.0, delay))
        self._messages[self._sent] = Message(self._sent, due, queue, text)

    @override
    async def lengths(self, queues: Iterable[str]) -> dict[str, int]:
        held = Counter(message.queue for message in self._messages.values())
        return {queue: held[queue] for queue in queues}

    @override
    async def backlog(self, queue: str) -> Backlog:
        """How many messages a queue holds; nobody measures how long they wait here."""
        return Backlog((await self.lengths([queue]))[queue])

    @property
    def messages(self) -> list[Message]:
        """All messages in the order in which they come, those that are not due yet at the end."""
        return sorted(self._messages.values(), key=lambda message: (message.due, message.number))

    def take(self, *, without: Collection[str] = ()) -> Message | None:
        """The next message that is due, of any queue but these; it stays here until it is done.

        Whoever dies before that leaves it behind for the next one: a message has one taker at a time here.
        """
        at = self._clock()
        return next((message for message in self.messages if message.queue not in without and message.due <= at), None)

    def done(self, message: Message) -> None:
        """Delete a message."""
        self._messages.pop(message.number, None)

    def next_due(self, *, without: Collection[str] = ()) -> datetime | None:
        """When the next message of any queue but these may be taken; None when there is none at all."""
        return min((message.due for message in self._messages.values() if message.queue not in without), default=None)


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row["PartitionKey"]), str(row["RowKey"])


def _token_key(token: Mapping[str, str]) -> tuple[str, str]:
    return token["PartitionKey"], token["RowKey"]
