"""Whose turn it is to make subscriptions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.events import now
from shared.state.subscriptions import HeldSubscriptions

if TYPE_CHECKING:
    from shared.state.tables import Tables


async def test_one_worker_at_a_time_makes_subscriptions_and_a_dead_one_loses_its_turn(tables: Tables) -> None:
    held, at = HeldSubscriptions(tables), now()
    await held.end_turn()
    assert await held.take_turn(at, 60.0)
    assert not await held.take_turn(at + timedelta(seconds=59), 60.0)
    assert await held.take_turn(at + timedelta(seconds=61), 60.0)
    await held.end_turn()
    assert await held.take_turn(at, 60.0)
