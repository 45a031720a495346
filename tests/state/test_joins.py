"""Joins and their leases: one writer at a time, and whoever was stopped too long cannot commit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shared.events import new_id
from shared.state.joins import BUCKETS, Join, Joins, bucket, partition
from shared.state.leases import LEASE_MARGIN, LEASE_SECONDS, Intent, Lease
from shared.state.tables import Stale

if TYPE_CHECKING:
    from shared.state.tables import Tables
    from tests.state.conftest import Clock

IDS = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(40)]


async def lease(joins: Joins, object_id: str, holder: str) -> tuple[Join, Lease | None]:
    ((join, taken),) = await joins.take([await joins.get("user", object_id)], holder)
    return join, taken.lease


async def commit(joins: Joins, join: Join, held: Lease | None) -> Lease | None:
    assert held is not None
    (kept,) = await joins.write([(join, held)], keep=False)
    return kept


async def test_a_join_comes_back_as_it_was_written(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    join, held = await lease(joins, IDS[0], "w1")
    written = replace(
        join,
        sys_id="a" * 32,
        state="linked",
        hashes={"email": "h1", "title": ""},
        fingerprint="f",
        schema="s",
        read_at=clock() - timedelta(microseconds=7),
        generation=3,
        waits=("object-a/one|two",),
        disabled_by_us=True,
        intent=Intent("update", "change", clock() + timedelta(seconds=60)),
    )
    assert held is not None
    await joins.write([(written, held)], keep=True)

    found = await joins.get("user", IDS[0])
    assert replace(found, lease_holder="", lease_until=None, etag="") == replace(written, etag="")
    assert found.lease_holder == "w1"


async def test_what_was_announced_is_left_in_a_row_whose_lease_was_lost(tables: Tables, other: Tables, clock: Clock) -> None:
    mine, theirs = Joins(tables, clock), Joins(other, clock)
    intent = Intent("Insert", "change", clock() + timedelta(seconds=60), sys_id="a" * 32, columns=("title",))
    join, held = await lease(mine, IDS[0], "w1")
    clock.turn(LEASE_SECONDS + 1)
    await commit(theirs, *await lease(theirs, IDS[0], "w2"))
    assert held is not None
    lost = [(replace(join, sys_id="a" * 32, state="linked"), held)]
    assert await mine.write(lost, keep=False, left={IDS[0]: intent, IDS[1]: intent}) == [None]
    found = await theirs.get("user", IDS[0])
    assert (found.sys_id, found.dirty, found.intent) == ("", True, intent)
    assert (await theirs.get("user", IDS[1])).intent is None


async def test_an_object_that_was_never_seen_has_an_empty_join(tables: Tables) -> None:
    first, second = await Joins(tables).get_many("group", IDS[:2])
    assert first == Join("group", IDS[0])
    assert second.object_id == IDS[1]
    assert not first.is_linked


async def test_a_held_row_is_busy_until_its_lease_ends(tables: Tables, other: Tables, clock: Clock) -> None:
    mine, theirs = Joins(tables, clock), Joins(other, clock)
    await lease(mine, IDS[0], "w1")

    join = await theirs.get("user", IDS[0])
    ((_, taken),) = await theirs.take([join], "w2")
    assert taken.lease is None
    assert taken.busy_until == clock() + timedelta(seconds=LEASE_SECONDS)

    clock.turn(LEASE_SECONDS + 1)
    _, held = await lease(theirs, IDS[0], "w2")
    assert held is not None
    assert held.holder == "w2"


async def test_of_two_workers_at_once_one_gets_a_new_row_and_the_other_looks_again_soon(tables: Tables, other: Tables) -> None:
    both = [Joins(tables), Joins(other)]
    read = [await joins.get("user", IDS[0]) for joins in both]
    outcomes = await asyncio.gather(
        *(joins.take([join], f"w{n}") for n, (joins, join) in enumerate(zip(both, read, strict=True)))
    )
    leases = [taken.lease for ((_, taken),) in outcomes]
    assert sorted(held is None for held in leases) == [False, True]
    (waits,) = [taken.busy_until for ((_, taken),) in outcomes if taken.lease is None]
    assert waits is not None


async def test_a_lease_that_was_given_back_is_free_at_once(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    join, held = await lease(joins, IDS[0], "w1")
    assert await commit(joins, join, held) is not None
    _, held = await lease(joins, IDS[0], "w2")
    assert held is not None


async def test_who_was_taken_over_cannot_commit_and_leaves_the_row_dirty(tables: Tables, other: Tables, clock: Clock) -> None:
    slow, quick = Joins(tables, clock), Joins(other, clock)
    join, held = await lease(slow, IDS[0], "w1")
    clock.turn(LEASE_SECONDS + 1)
    fresh, taken = await lease(quick, IDS[0], "w2")
    await commit(quick, replace(fresh, sys_id="b" * 32, state="linked"), taken)

    assert await commit(slow, replace(join, sys_id="a" * 32), held) is None

    found = await quick.get("user", IDS[0])
    assert (found.sys_id, found.dirty) == ("b" * 32, True)


async def test_a_holder_whose_row_was_marked_dirty_meanwhile_cannot_commit_over_it(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    join, held = await lease(joins, IDS[0], "w1")
    await joins.mark_dirty("user", [IDS[0]])
    assert await commit(joins, replace(join, sys_id="a" * 32), held) is None
    found = await joins.get("user", IDS[0])
    assert (found.sys_id, found.dirty) == ("", True)


async def test_a_takeover_shows_the_intent_that_the_former_holder_left(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    join, held = await lease(joins, IDS[0], "w1")
    intent = Intent("insert", "change", clock() + timedelta(seconds=65))
    assert held is not None
    await joins.write([(replace(join, intent=intent), held)], keep=True)

    clock.turn(LEASE_SECONDS + 1)
    found, taken = await lease(joins, IDS[0], "w2")
    assert taken is not None
    assert found.intent == intent


async def test_a_kept_lease_is_extended(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    join, held = await lease(joins, IDS[0], "w1")
    clock.turn(LEASE_SECONDS - 1)
    assert held is not None
    (held,) = await joins.write([(join, held)], keep=True)
    clock.turn(LEASE_SECONDS - 1)
    _, busy = await lease(joins, IDS[0], "w2")
    assert busy is None
    assert held is not None
    (held,) = await joins.write([(join, held)], keep=False)
    assert held is not None


async def test_a_lease_outlasts_a_request_only_with_a_margin(clock: Clock) -> None:
    held = Lease("w1", clock() + timedelta(seconds=65 + LEASE_MARGIN), "etag")
    assert held.outlasts(64.9, clock())
    assert not held.outlasts(65.0, clock())


async def test_one_lost_row_does_not_keep_the_others_from_their_commit(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    taken = await joins.take(await joins.get_many("user", IDS), "w1")
    await joins.mark_dirty("user", [IDS[5]])

    results = await joins.write(
        [(replace(join, sys_id="a" * 32), outcome.lease) for join, outcome in taken if outcome.lease], keep=False
    )

    assert [number for number, result in enumerate(results) if result is None] == [5]
    found = await joins.get_many("user", IDS)
    assert [join.object_id for join in found if not join.sys_id] == [IDS[5]]
    assert [join.object_id for join in found if join.dirty] == [IDS[5]]


async def test_a_chunk_costs_one_transaction_for_each_bucket(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    many = [join for join in await joins.get_many("user", IDS) if bucket(join.object_id) in "0123"]
    tables.requests.clear()
    taken = await joins.take(many, "w1")
    assert all(outcome.lease for _, outcome in taken)
    assert tables.requests == {"transaction": len({bucket(join.object_id) for join in many})}


async def test_a_full_round_marks_what_it_saw_and_spares_what_changed(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    for object_id in IDS[:3]:
        join, held = await lease(joins, object_id, "w1")
        await commit(joins, replace(join, sys_id="a" * 32, state="linked"), held)
    seen = await joins.get_many("user", IDS[:3])
    await lease(joins, IDS[1], "w2")

    await joins.mark_seen(seen, 4)

    found = {join.object_id: join.generation for join in await joins.get_many("user", IDS[:3])}
    assert found == {IDS[0]: 4, IDS[1]: 0, IDS[2]: 4}
    assert [join.object_id async for join in joins.scan("user", unseen_since=4)] == [IDS[1]]
    assert (await joins.get("user", IDS[1])).lease_holder == "w2"


async def test_a_scan_finds_every_linked_object_of_its_kind_once(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    taken = await joins.take(await joins.get_many("user", IDS), "w1")
    await joins.write(
        [
            (replace(join, sys_id="a" * 32 if number % 2 else ""), outcome.lease)
            for number, (join, outcome) in enumerate(taken)
            if outcome.lease
        ],
        keep=False,
    )
    assert sorted([join.object_id async for join in joins.scan("user")]) == IDS[1::2]
    assert [join async for join in joins.scan("group")] == []


async def test_a_retired_join_gives_its_record_up_unless_somebody_holds_it(tables: Tables, clock: Clock) -> None:
    joins = Joins(tables, clock)
    join, held = await lease(joins, IDS[0], "w1")
    await commit(joins, replace(join, sys_id="a" * 32, state="linked", hashes={"email": "h"}), held)

    read = await joins.get("user", IDS[0])
    await lease(joins, IDS[0], "w2")
    with pytest.raises(Stale):
        await joins.retire(read)

    await joins.retire(await joins.get("user", IDS[0]))
    found = await joins.get("user", IDS[0])
    assert (found.sys_id, found.state, found.hashes) == ("", "retired", {})


def test_buckets_are_even_and_do_not_depend_on_case() -> None:
    counts: dict[str, int] = {}
    for number in range(3200):
        key = partition("user", f"{number:08d}-0000-4000-8000-000000000000")
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == BUCKETS
    assert min(counts.values()) > 100
    identifier = new_id()
    assert bucket(identifier) == bucket(identifier.upper())
