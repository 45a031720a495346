"""The table that a run prints: one section for each case, one row for each figure."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADINGS = ("", "app", "baseline", "ratio", "aim")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, as text; what does not apply is empty."""

    measure: str
    app: str
    baseline: str = ""
    ratio: str = ""
    aim: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        return (self.measure, self.app, self.baseline, self.ratio, self.aim)


@dataclass(frozen=True, slots=True)
class Section:
    """One case: what was measured, and under which circumstances."""

    title: str
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()


def rendered(sections: Sequence[Section]) -> str:
    """The table as text, columns aligned over all sections."""
    rows = [row.cells for section in sections for row in section.rows]
    widths = [max((len(cells[column]) for cells in [_HEADINGS, *rows]), default=0) for column in range(len(_HEADINGS))]
    lines: list[str] = []
    for section in sections:
        lines += ["", section.title, _line(_HEADINGS, widths), "  " + "-" * (sum(widths) + 2 * len(widths) - 2)]
        lines += [_line(row.cells, widths) for row in section.rows]
        lines += [f"    {note}" for note in section.notes]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    texts = [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(others, widths[1:], strict=True))]
    return "  " + "  ".join(texts).rstrip()


def ratio(app: float, baseline: float) -> str:
    """How many times as much the app does, or needs, as the baseline."""
    return f"{app / baseline:.3g}x" if baseline else ""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed (nearest rank); ValueError for no values."""
    if not values:
        raise ValueError("there are no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine() -> str:
    """What the figures depend on: processor, cores, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB memory, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )
