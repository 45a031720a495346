"""Queues that keep what is sent to them: a preview's events lead nowhere, and a plan can tell what would follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from shared.state.queues import Queues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.events import Event


class RecordedQueues(Queues):
    """``events``: what would have been queued, in order, with the delay in seconds."""

    def __init__(self, beneath: Queues) -> None:
        self._beneath = beneath
        self.events: list[tuple[Event, float]] = []

    @override
    async def aclose(self) -> None:
        """The queues beneath belong to somebody else."""

    @override
    async def send(self, event: Event, *, delay: float = 0.0) -> None:
        self.events.append((event, delay))

    @override
    async def send_text(self, queue: str, text: str, *, delay: float = 0.0) -> None:
        raise TypeError("a message that is no event has no place in a preview")

    @override
    async def lengths(self, queues: Iterable[str]) -> dict[str, int]:
        return await self._beneath.lengths(queues)
