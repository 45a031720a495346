"""A walk over everything, step by step: each step is one message, short enough for any time limit, and may be repeated."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.errors import CredentialsError, ProvisioningError, RetryableError
from shared.events import Walk, WalkDue, new_id
from shared.state.walks import WalkMark, WalkMarks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.provisioning.services import Services

log = logging.getLogger("provisioning.walking")

#: A walk that has not moved for this long has died, in seconds: longer than a step and its retries take.
_STALE = 900.0

type Position = dict[str, Any]


class Walking(ABC):
    """Begin, carry and finish one kind of walk."""

    walk: Walk

    def __init__(self, services: Services) -> None:
        self._services = services
        self._marks = WalkMarks(services.tables)

    @abstractmethod
    async def step(self, mark: WalkMark) -> tuple[Position | None, Counter[str]]:
        """Do the step at ``mark.position``: the next position (None at the end), and what was counted. May run twice."""

    async def mark(self) -> WalkMark:
        return await self._marks.get(self.walk)

    async def begin(self) -> WalkMark:
        """Start a run, unless one is under way; returns the run that is under way now."""
        while True:
            mark = await self.mark()
            if mark.running and not self._is_stale(mark):
                return mark
            at = self._services.clock()
            moved = await self._marks.move(
                mark,
                run=new_id(),
                step=0,
                running=True,
                position={},
                counts={},
                error="",
                started_at=at,
                heartbeat=at,
                finished_at=None,
            )
            if moved is not None:
                await self._send(moved)
                return moved

    async def advance(self, event: WalkDue) -> None:
        """Take the step that the message names, if the walk still stands there."""
        mark = await self.mark()
        if not mark.running or (mark.run, mark.step) != (event.run, event.step):
            return
        try:
            position, counted = await self.step(mark)
        except (RetryableError, CredentialsError):
            raise
        except ProvisioningError as error:
            log.exception("the %s ends before its end", self.walk)
            await self._marks.move(mark, running=False, error=f"{error.code}: {error.reason}", finished_at=self._services.clock())
            return
        at = self._services.clock()
        moved = await self._marks.move(
            mark,
            step=mark.step + 1,
            position=position or {},
            counts=_added(mark.counts, counted),
            heartbeat=at,
            running=position is not None,
            finished_at=at if position is None else None,
        )
        if moved is not None and moved.running:
            await self._send(moved)
        elif moved is not None:
            log.info("the %s is complete: %s", self.walk, dict(moved.counts))

    async def tick(self) -> None:
        """Pick up a walk that has died."""
        mark = await self.mark()
        if mark.running and self._is_stale(mark):
            log.warning("the %s has not moved since %s: picked up", self.walk, mark.heartbeat)
            await self._send(mark)

    async def _send(self, mark: WalkMark) -> None:
        await self._services.queues.send(WalkDue(walk=self.walk, run=mark.run, step=mark.step))

    def _is_stale(self, mark: WalkMark) -> bool:
        return mark.heartbeat is None or self._services.clock() - mark.heartbeat > timedelta(seconds=_STALE)


def shown(mark: WalkMark) -> dict[str, Any]:
    """A walk's state, for operators."""
    return {
        "id": mark.run or None,
        "status": "running" if mark.running else "failed" if mark.error else "completed" if mark.run else "notRun",
        "startedDateTime": mark.started_at.isoformat() if mark.started_at else None,
        "completedDateTime": mark.finished_at.isoformat() if mark.finished_at else None,
        "error": mark.error or None,
        "counts": dict(sorted(mark.counts.items())),
    }


def _added(before: Mapping[str, int], counted: Counter[str]) -> dict[str, int]:
    total = Counter(before)
    total.update(counted)
    return dict(total)
