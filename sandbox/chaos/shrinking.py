"""A shorter history that still ends wrong: halves, then quarters and so on of its steps are left out while it fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.chaos.history import History


async def shrunk(history: History, fails: Callable[[History], Awaitable[bool]], *, tries: int) -> History:
    """The shortest failing history found within so many tries (delta debugging; each try plays a history)."""
    parts = 2
    while tries > 0 and len(history.steps) > 1:
        size = max(1, len(history.steps) // parts)
        for start in range(0, len(history.steps), size):
            shorter = replace(history, steps=history.steps[:start] + history.steps[start + size :])
            tries -= 1
            if await fails(shorter):
                history, parts = shorter, max(2, parts - 1)
                break
            if tries <= 0:
                return history
        else:
            if size == 1:
                return history
            parts *= 2
    return history
