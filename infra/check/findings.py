"""What a check says: faults with their place, or why it could not run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault. ``file`` is relative to the project; ``line`` counts from 1, 0 where there is none."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class NotRun(Exception):
    """The check needs something that this machine does not have; the message says what."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the project at a directory: its faults, or ``NotRun``."""

    title: str
    run: Callable[[Path], list[Finding]]
