"""A clock that runs with the real one and can be put forward, so that no test waits for a lease or a delay to end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.events import now

if TYPE_CHECKING:
    from datetime import datetime


class Clock:
    """Call it for the time. It only ever goes forward."""

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
