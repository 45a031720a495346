"""How many writes fit into one batch: learnt from the time that the last ones took.

A batch is cut off after 30 s on the server, and an instance's business rules decide whether that is 300 writes or 30.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS_PER_BATCH: Final = 10.0
MOST_ITEMS: Final = 60
MOST_BYTES: Final = 4_500_000
_FIRST_GUESS = 0.25
_SHORTEST = 0.002
_WEIGHT_OF_NEW = 0.3

type Kind = tuple[str, str]
"""Table and HTTP method."""


class Pace:
    """A moving average of seconds per item, for each table and verb."""

    def __init__(self) -> None:
        self._seconds: dict[Kind, float] = {}

    def expected(self, kind: Kind) -> float:
        """Seconds that an item will probably take."""
        return self._seconds.get(kind, _FIRST_GUESS)

    def took(self, items: Sequence[tuple[Kind, float]], elapsed: float) -> None:
        """A batch took ``elapsed`` seconds; each item comes with the server's own figure in seconds, 0 where it gave none.

        The whole time is shared out in proportion, since the server's figures leave out what lies between the items.
        """
        stated = sum(seconds for _, seconds in items)
        for kind, seconds in items:
            share = elapsed * seconds / stated if stated > 0 else elapsed / len(items)
            before = self._seconds.get(kind)
            new = max(share, _SHORTEST)
            self._seconds[kind] = new if before is None else before + _WEIGHT_OF_NEW * (new - before)

    def failed(self, kinds: set[Kind]) -> None:
        """A batch of these ran into the time limit: the next is half as long."""
        for kind in kinds:
            self._seconds[kind] = min(self.expected(kind) * 2, SECONDS_PER_BATCH)


class Cut:
    """How full the batch being cut is."""

    def __init__(self) -> None:
        self._count = 0
        self._seconds = 0.0
        self._bytes = 0

    def takes(self, seconds: float, size: int) -> bool:
        """Whether one more item fits, and count it if so; the first always fits."""
        fits = self._count < MOST_ITEMS and self._seconds + seconds <= SECONDS_PER_BATCH and self._bytes + size <= MOST_BYTES
        if self._count and not fits:
            return False
        self._count += 1
        self._seconds += seconds
        self._bytes += size
        return True
