"""How far the first cycle is: counts, speed and the time that remains, as a redrawn bar or as lines now and then."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_BAR: Final = 24
#: Speed is measured over so many seconds, so that a pause shows and a burst does not promise too much.
_WINDOW: Final = 10.0
_EVERY: Final = 5.0
#: No promise is made before this share is done.
_TELLING: Final = 0.05


@dataclass(slots=True)
class Progress:
    """Counts by kind (users, groups, memberships) against their totals; times are seconds of any one clock."""

    totals: Mapping[str, int]
    done: dict[str, int] = field(default_factory=dict)
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def observe(self, counts: Mapping[str, int], at: float) -> None:
        """Note what is done at a time. A count never falls and never exceeds its total."""
        for kind, total in self.totals.items():
            self.done[kind] = max(self.done.get(kind, 0), min(counts.get(kind, 0), total))
        self._seen.append((at, sum(self.done.values())))
        while len(self._seen) > 1 and at - self._seen[1][0] >= _WINDOW:
            self._seen.popleft()

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return sum(self.done.values()) / max(1, sum(self.totals.values()))

    @property
    def per_second(self) -> float:
        """Objects and memberships a second, lately."""
        if len(self._seen) < 2:  # noqa: PLR2004 - a speed needs two observations
            return 0.0
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds to go at that speed; None while nothing moves, or too little has been seen to tell."""
        speed = self.per_second
        if speed <= 0 or self.share < _TELLING:
            return None
        return (sum(self.totals.values()) - sum(self.done.values())) / speed

    def line(self) -> str:
        """``[######....]  41%  users 2,000/2,000  groups 100/100  memberships 812/11,663  310/s  0:35 left``."""
        filled = int(_BAR * self.share)
        counts = "  ".join(f"{kind} {self.done.get(kind, 0):,}/{total:,}" for kind, total in self.totals.items())
        left = "" if self.remaining is None else f"  {_clock(self.remaining)} left"
        return f"[{'#' * filled}{'.' * (_BAR - filled)}] {self.share:4.0%}  {counts}  {self.per_second:,.0f}/s{left}"


class Display:
    """Where the progress is shown: one line that is redrawn on a terminal, a line every few seconds elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._redraw = out.isatty()
        self._shown_at: float | None = None

    def show(self, progress: Progress, at: float) -> None:
        """Show it, if it is time."""
        if self._redraw:
            self._out.write("\r\x1b[K" + progress.line()[: shutil.get_terminal_size().columns - 1])
        elif self._shown_at is not None and at - self._shown_at < _EVERY:
            return
        else:
            self._out.write(progress.line() + "\n")
        self._shown_at = at
        self._out.flush()

    def finish(self, progress: Progress) -> None:
        """Show the last state and leave it there."""
        self._out.write(("\r\x1b[K" if self._redraw else "") + progress.line() + "\n")
        self._out.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
