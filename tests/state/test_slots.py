"""Slots: as many as the limit over all workers, shared fairly, and freed by their lease when a worker dies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.state.slots import SLOT_SECONDS, Slots

if TYPE_CHECKING:
    from shared.state.tables import Tables
    from tests.state.conftest import Clock


async def test_a_worker_alone_may_take_all_and_no_more(tables: Tables, clock: Clock) -> None:
    slots = Slots(tables, 4, "w1", clock)
    first = await slots.take(3)
    assert [lease.number for lease in first] == [0, 1, 2]
    second = await slots.take(3, {0, 1, 2})
    assert [lease.number for lease in second] == [3]
    assert await slots.take(1, {0, 1, 2, 3}) == []


async def test_two_workers_at_once_never_get_the_same_slot(tables: Tables, other: Tables, clock: Clock) -> None:
    first, second = await asyncio.gather(Slots(tables, 4, "w1", clock).take(4), Slots(other, 4, "w2", clock).take(4))
    numbers = [lease.number for lease in (*first, *second)]
    assert len(numbers) == len(set(numbers)) <= 4


async def test_a_worker_that_wants_a_slot_makes_the_others_share_shrink_to_a_fair_one(
    tables: Tables, other: Tables, clock: Clock
) -> None:
    mine, theirs = Slots(tables, 4, "w1", clock), Slots(other, 4, "w2", clock)
    held = await mine.take(4)
    assert await mine.share() == 4
    assert await theirs.take(4) == []
    assert await mine.share() == 2

    await mine.give_back(held[2:])
    got = await theirs.take(4)
    assert [lease.number for lease in got] == [2, 3]
    assert await mine.take(4, {0, 1}) == []
    assert await mine.share() == 2


async def test_a_wish_is_forgotten_after_a_while(tables: Tables, other: Tables, clock: Clock) -> None:
    mine, theirs = Slots(tables, 2, "w1", clock), Slots(other, 2, "w2", clock)
    held = await mine.take(2)
    assert await theirs.take(1) == []
    clock.turn(16)
    assert len(await mine.renew(held)) == 2
    assert await mine.share() == 2
    assert await Slots(other, 2, "w3", clock).take(1) == []
    rows = await tables.query("job", "PartitionKey eq 'slots'")
    assert sorted(found["RowKey"] for found in rows) == ["0000", "0001", "want-w3"]


async def test_a_dead_workers_slots_are_free_when_their_lease_ends(tables: Tables, other: Tables, clock: Clock) -> None:
    held = await Slots(tables, 2, "dead", clock).take(2)
    living = Slots(other, 2, "w2", clock)
    assert await living.take(2) == []
    clock.turn(SLOT_SECONDS + 1)
    assert len(await living.take(2)) == 2
    assert await Slots(tables, 2, "dead", clock).renew(held) == [], "what was taken over cannot be renewed"


async def test_renewed_slots_stay_and_given_back_ones_are_free_at_once(tables: Tables, other: Tables, clock: Clock) -> None:
    mine = Slots(tables, 2, "w1", clock)
    held = await mine.take(2)
    clock.turn(SLOT_SECONDS - 1)
    held = await mine.renew(held)
    clock.turn(SLOT_SECONDS - 1)
    assert await Slots(other, 2, "w2", clock).take(2) == []
    await mine.give_back(held[:1])
    assert [lease.number for lease in await Slots(other, 2, "w3", clock).take(2)] == [0]
    await mine.give_back(held[:1])
    assert len(await Slots(other, 2, "w4", clock).take(2)) == 0, "a slot that is no longer ours is not given away"


async def test_a_limit_below_the_number_of_workers_leaves_each_at_least_one(tables: Tables, clock: Clock) -> None:
    workers = [Slots(tables, 2, f"w{number}", clock) for number in range(5)]
    held = await workers[0].take(2)
    for worker in workers[1:]:
        await worker.take(1)
    assert await workers[0].share() == 1
    await workers[0].give_back(held[1:])
    assert len(await workers[3].take(2)) == 1


async def test_a_slot_whose_answer_was_lost_is_its_workers_at_once(tables: Tables, other: Tables, clock: Clock) -> None:
    slots = Slots(tables, 2, "w1", clock)
    # Storage has written both, and nobody was told.
    assert len(await slots.take(2)) == 2
    assert await Slots(other, 2, "w2", clock).take(2) == []
    clock.turn(16)
    assert [lease.number for lease in await slots.take(2)] == [0, 1]


async def test_a_slot_under_a_request_that_goes_on_is_not_taken_twice(tables: Tables, clock: Clock) -> None:
    slots = Slots(tables, 2, "w1", clock)
    await slots.take(2)
    clock.turn(SLOT_SECONDS + 1)
    assert [lease.number for lease in await slots.take(2, {0})] == [1]
