"""What happens in one history: a list of steps, made from a seed, that can be replayed and shortened.

A step names what happens and carries two numbers that choose to whom: among those to whom it can happen at that moment. So a
step still makes sense when others before it are left out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

#: What people and administrators do, and how often.
DEEDS: Final = {
    "hire": 6,
    "rename": 4,
    "move": 8,
    "clear": 3,
    "disable": 5,
    "enable": 4,
    "delete": 5,
    "restore": 4,
    "purge": 3,
    "rehire": 3,
    "join": 9,
    "leave": 6,
    "manage": 5,
    "unmanage": 2,
    "found": 2,
    "retitle": 3,
    "dissolve": 1,
    "assign": 3,
    "unassign": 3,
    "local user": 1,
    "local member": 1,
    "local edit": 2,
    "local removal": 1,
    "local deletion": 2,
    "department": 1,
}
#: What goes wrong, and how often. Each lasts for a while, except those that happen at once.
HARMS: Final = {
    "kill": 8,
    "stop": 4,
    "lag": 5,
    "notifications": 6,
    "expire tokens": 2,
    "reset tokens": 2,
    "replays": 2,
    "graph throttles": 3,
    "graph fails": 3,
    "graph refuses": 1,
    "throttled": 3,
    "lost answers": 5,
    "cut batches": 3,
    "fails": 3,
    "hibernates": 2,
    "refused": 2,
    "storage refuses": 4,
    "storage loses": 4,
    "pauses": 2,
    "restarts": 2,
}
PAUSE: Final = "pause"
_HARM_SHARE: Final = 0.4
_PAUSE_SHARE: Final = 0.35
_ASSIGNED_SHARE: Final = 0.3
_EARLY_SHARE: Final = 0.3
_LARGEST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """``name`` is one of ``DEEDS``, ``HARMS`` or a pause (``a`` in milliseconds)."""

    name: str
    a: int = 0
    b: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.a} {self.b}"


@dataclass(frozen=True, slots=True)
class History:
    """``scope``: ``all`` or ``assigned``. ``early``: it begins while the first cycle still runs."""

    seed: int
    scope: str
    early: bool
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        head = f"seed {self.seed}, scope {self.scope}, begins {'during' if self.early else 'after'} the first cycle"
        return "\n".join((head, *(f"  {number:3} {step}" for number, step in enumerate(self.steps))))


def history(seed: int, steps: int = 30) -> History:
    """The history of a seed: so many deeds and harms, with pauses between them."""
    rng = random.Random(f"history/{seed}")
    made: list[Step] = []
    for _ in range(steps):
        table = HARMS if rng.random() < _HARM_SHARE else DEEDS
        (name,) = rng.choices(list(table), weights=list(table.values()))
        made.append(Step(name, rng.randrange(_LARGEST), rng.randrange(_LARGEST)))
        if rng.random() < _PAUSE_SHARE:
            made.append(Step(PAUSE, rng.choice((50, 200, 500, 1200, 2500))))
    scope = "assigned" if rng.random() < _ASSIGNED_SHARE else "all"
    return History(seed, scope, rng.random() < _EARLY_SHARE, tuple(made))
