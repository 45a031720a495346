"""What an evaluation may ask of the world. Everything has a default except the clock's truth: pass ``now`` in the engine."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

REGEX_SECONDS = 0.5


def _nothing_taken(_value: str) -> bool:
    return False


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """The world as one evaluation sees it.

    ``now``: the clock for Now(), aware. ``default_domain``: the tenant's default verified domain, for DefaultDomain().
    ``target_taken``: says whether a value is already used in the target, for SelectUniqueValue. ``randomness``: for Guid and
    RandomString. ``regex_seconds``: the time that one pattern may take on one value.
    """

    now: datetime = field(default_factory=_now)
    default_domain: str | None = None
    target_taken: Callable[[str], bool] = _nothing_taken
    randomness: Random = field(default_factory=secrets.SystemRandom)
    regex_seconds: float = REGEX_SECONDS
