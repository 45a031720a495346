"""How long to wait before a failed thing is tried again within its event."""

from __future__ import annotations

import random

#: Growing delays between tries, in seconds: the first retry is quick, because most failures are short.
_DELAYS = (2.0, 5.0, 15.0, 45.0, 120.0, 300.0)


def retry_delay(attempt: int, wish: float | None) -> float:
    """Seconds until the next try; ``wish`` is the service's Retry-After. Spread by a fifth, so that a crowd does not return."""
    delay = _DELAYS[min(attempt, len(_DELAYS) - 1)]
    return max(delay, wish or 0.0) * random.uniform(1.0, 1.2)  # noqa: S311 - not a secret
