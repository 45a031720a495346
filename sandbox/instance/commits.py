"""The log of committed writes, for measuring when a change arrived."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEPT = 500_000


@dataclass(frozen=True, slots=True)
class Commit:
    """One committed write; ``time`` is unix time in seconds, ``fields`` the columns that changed."""

    seq: int
    time: float
    table: str
    sys_id: str
    verb: str
    fields: tuple[str, ...]
    by: str

    def as_json(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "time": round(self.time, 3),
            "table": self.table,
            "sys_id": self.sys_id,
            "verb": self.verb,
            "fields": list(self.fields),
            "by": self.by,
        }


class CommitLog:
    """Commits in order; numbers only grow. The oldest are forgotten beyond 500,000.

    ``counts`` counts them by verb and table until it is cleared.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._commits: deque[Commit] = deque(maxlen=KEPT)
        self._changed = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.last = 0

    def add(self, table: str, sys_id: str, verb: str, fields: Iterable[str], by: str) -> None:
        self.last += 1
        self._commits.append(Commit(self.last, self._clock(), table, sys_id, verb, tuple(fields), by))
        self.counts[f"{verb} {table}"] += 1
        self._changed.set()

    def since(self, seq: int) -> list[Commit]:
        """Return the commits after number ``seq``, oldest first."""
        newer: list[Commit] = []
        for commit in reversed(self._commits):
            if commit.seq <= seq:
                break
            newer.append(commit)
        newer.reverse()
        return newer

    async def wait(self, seq: int, timeout: float) -> None:  # noqa: ASYNC109 - an upper bound, not a failure
        """Return when there is a commit after ``seq``, or after ``timeout`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.last <= seq:
                    self._changed.clear()
                    await self._changed.wait()
