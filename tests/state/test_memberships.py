"""Memberships and owners."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.state.leases import LEASE_SECONDS, Intent
from shared.state.memberships import Membership, Memberships
from shared.state.owners import Claim, Owners

if TYPE_CHECKING:
    from shared.state.tables import Tables
    from tests.state.conftest import Clock

GROUP, USERS = "11111111-0000-4000-8000-000000000000", [f"{number:08d}-0000-4000-8000-00000000000a" for number in range(30)]
PAIRS = [(GROUP, user) for user in USERS]


async def put(memberships: Memberships, rows: list[Membership]) -> None:
    taken = await memberships.take(rows, "test")
    leased = [
        (replace(row, etag=outcome.lease.etag), outcome.lease)
        for row, (_, outcome) in zip(rows, taken, strict=True)
        if outcome.lease
    ]
    assert all(await memberships.write(leased, keep=False))


async def test_a_membership_comes_back_as_it_was_written(tables: Tables, clock: Clock) -> None:
    memberships = Memberships(tables, clock)
    intent = Intent("insert", "change", clock() + timedelta(seconds=65))
    row = Membership(GROUP, USERS[0], True, 3, 7, clock(), "a" * 32, "b" * 32, "c" * 32, dirty=True, intent=intent)
    await put(memberships, [row])
    found, missing = await memberships.get_many(PAIRS[:2])
    assert replace(found, etag="") == row
    assert missing == Membership(GROUP, USERS[1])


async def test_a_group_is_read_in_parts_in_order(tables: Tables, clock: Clock) -> None:
    memberships = Memberships(tables, clock)
    await put(memberships, [Membership(GROUP, user, desired=True) for user in USERS])
    await put(memberships, [Membership("22222222-0000-4000-8000-000000000000", USERS[0])])
    seen: list[str] = []
    while part := await memberships.of_group(GROUP, after=seen[-1] if seen else "", limit=12):
        assert len(part) <= 12
        seen += [membership.user_id for membership in part]
    assert seen == USERS


async def test_a_user_is_found_by_the_index_before_the_row_is_there(tables: Tables, clock: Clock) -> None:
    memberships = Memberships(tables, clock)
    longer = f"{USERS[0]}0"
    await memberships.index([*PAIRS, *PAIRS, ("g2", USERS[0]), ("g3", longer)])
    await memberships.index(PAIRS)
    assert sorted(await memberships.of_user(USERS[0])) == sorted([(GROUP, USERS[0]), ("g2", USERS[0])])
    assert (await memberships.get_many([("g2", USERS[0])]))[0].etag == ""
    assert await memberships.of_user("nobody") == []


async def test_what_a_complete_round_did_not_name_is_found(tables: Tables, clock: Clock) -> None:
    memberships = Memberships(tables, clock)
    rows = [Membership(GROUP, user, desired=number != 2, generation=number // 2) for number, user in enumerate(USERS[:6])]
    await put(memberships, rows)
    assert [row.user_id for row in await memberships.unseen(GROUP, 2)] == [USERS[0], USERS[1], USERS[3]]


async def test_a_membership_is_leased_like_a_join(tables: Tables, other: Tables, clock: Clock) -> None:
    mine, theirs = Memberships(tables, clock), Memberships(other, clock)
    ((row, taken),) = await mine.take(await mine.get_many(PAIRS[:1]), "w1")
    ((_, busy),) = await theirs.take(await theirs.get_many(PAIRS[:1]), "w2")
    assert busy.lease is None
    clock.turn(LEASE_SECONDS + 1)
    ((fresh, takeover),) = await theirs.take(await theirs.get_many(PAIRS[:1]), "w2")
    assert taken.lease is not None
    assert takeover.lease is not None

    assert await mine.write([(replace(row, sys_id="late"), taken.lease)], keep=False) == [None]
    (found,) = await theirs.get_many(PAIRS[:1])
    assert (found.sys_id, found.dirty) == ("", True)
    assert await theirs.write([(fresh, takeover.lease)], keep=False) == [None], "a dirty mark must be seen, not written over"


async def test_a_record_has_one_owner_and_the_second_claim_learns_who(tables: Tables, other: Tables) -> None:
    mine, theirs = Owners(tables), Owners(other)
    assert await mine.claim([Claim("sys_user", "a" * 32, "ann"), Claim("sys_user", "b" * 32, "ann")]) == ["ann", "ann"]
    claims = [Claim("sys_user", "a" * 32, "bob"), Claim("sys_user", "c" * 32, "bob"), Claim("sys_user_group", "a" * 32, "bob")]
    assert await theirs.claim(claims) == ["ann", "bob", "bob"]
    assert await theirs.claim(claims) == ["ann", "bob", "bob"], "a replay changes nothing"
    assert await mine.owner("sys_user", "a" * 32) == "ann"
    assert await mine.owner("sys_user", "f" * 32) == ""
    wanted = ["a" * 32, "c" * 32, "f" * 32]
    assert await mine.owners("sys_user", wanted) == {"a" * 32: "ann", "c" * 32: "bob"}


async def test_two_objects_of_one_chunk_that_want_one_record_do_not_stop_the_chunk(tables: Tables) -> None:
    owners = await Owners(tables).claim([Claim("sys_user", "a" * 32, name) for name in ("ann", "bob")])
    assert owners == ["ann", "ann"]


async def test_of_many_claims_at_once_one_wins_and_all_agree(tables: Tables, other: Tables) -> None:
    stores = [Owners(tables), Owners(other)]
    answers = await asyncio.gather(*(stores[n % 2].claim([Claim("sys_user", "d" * 32, f"o{n}")]) for n in range(10)))
    assert len({owner for (owner,) in answers}) == 1


async def test_a_record_moves_only_from_the_owner_that_it_had(tables: Tables) -> None:
    owners = Owners(tables)
    await owners.claim([Claim("sys_user", "a" * 32, "old")])
    assert not await owners.move(Claim("sys_user", "a" * 32, "new"), former="somebody")
    assert not await owners.move(Claim("sys_user", "b" * 32, "new"), former="old")
    assert await owners.move(Claim("sys_user", "a" * 32, "new"), former="old")
    assert await owners.owner("sys_user", "a" * 32) == "new"

    await owners.release(Claim("sys_user", "a" * 32, "old"))
    assert await owners.owner("sys_user", "a" * 32) == "new", "the old object's purge touches nobody"
    await owners.release(Claim("sys_user", "a" * 32, "new"))
    assert await owners.owner("sys_user", "a" * 32) == ""
