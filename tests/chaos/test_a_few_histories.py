"""A few histories of the campaign, with three hosts, faults and kills. ``make chaos`` plays many more."""

from __future__ import annotations

import pytest

from sandbox.chaos.campaign import play
from sandbox.chaos.history import history


@pytest.mark.e2e
@pytest.mark.parametrize("seed", [3, 5])
async def test_a_history_ends_right(seed: int) -> None:
    told = history(seed, steps=20)
    result = await play(told)
    assert not result.faults, "\n".join((str(told), *result.events, *result.faults))
