"""The laws that the engine must keep, each shown by what happens when somebody tries to break it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.instance.access import SYSTEM
from shared.events import (
    GROUP_EVENTS,
    USER_EVENTS,
    MembersChanged,
    ObjectsChanged,
    ObjectsSnapshot,
    encode,
    new_id,
)
from shared.state.joins import partition
from shared.state.leases import Intent
from shared.state.owners import Claim, Ownership
from shared.state.tables import row
from tests.support.people import hire, memberships, record_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.state.joins import Join
    from shared.state.tables import Row
    from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _notify(here: World, *ids: str, gone: bool = False) -> None:
    event = ObjectsChanged(kind="user", ids=ids, reason="notification", occurred_at=here.clock(), gone=gone)
    await here.services.queues.send(event)


# Law 1: level, not edge


async def test_an_event_decides_nothing_by_its_order(here: World) -> None:
    ann = hire(here, "ordered", jobTitle="one")
    early = ObjectsChanged(kind="user", ids=(ann,), reason="notification", occurred_at=here.clock())
    await here.cycle()
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    await here.cycle()
    start, before = here.instance.instance.commits.last, here.requests()
    await here.services.dispatcher.handle(USER_EVENTS, encode(early))
    assert here.instance.instance.commits.last == start
    assert here.requests() == before


async def test_a_snapshot_older_than_what_was_applied_changes_nothing(here: World) -> None:
    ann = hire(here, "snapshot", jobTitle="old")
    await here.cycle()
    old = {"id": ann, "userPrincipalName": "snapshot@contoso.com", "accountEnabled": True, "jobTitle": "old"}
    read_at = here.clock()
    here.tenant.tenant.update(ann, {"jobTitle": "new"})
    await here.cycle()
    generation = (await here.services.watermarks.get("users")).generation
    event = ObjectsSnapshot(kind="user", generation=generation, page=0, chunk=0, cycle_id=new_id(), read_at=read_at, items=(old,))
    await here.services.dispatcher.handle(USER_EVENTS, encode(event))
    await here.pump()
    assert record_of(here, "snapshot")["title"] == "new"


async def test_a_slice_of_members_older_than_what_was_applied_changes_nothing(here: World) -> None:
    ann = hire(here, "slice")
    team = here.tenant.tenant.create_group("Slices", members=[ann])
    await here.cycle()
    here.tenant.tenant.remove_members(team, [ann])
    await here.cycle()
    (known,) = await here.services.memberships.get_many([(team, ann)])
    assert memberships(here, "Slices") == []
    stale = MembersChanged(
        group_id=team,
        generation=known.generation,
        page=known.page - 1,
        chunk=0,
        cycle_id=new_id(),
        read_at=here.clock() - timedelta(minutes=5),
        added=(ann,),
        removed=(),
    )
    await here.services.dispatcher.handle(GROUP_EVENTS, encode(stale))
    await here.pump()
    assert memberships(here, "Slices") == []


# Law 2: a replay changes nothing


async def test_every_message_delivered_twice_gives_the_same_end(here: World) -> None:
    here.deliveries = 2
    try:
        ann, bob = hire(here, "twice.a", jobTitle="one"), hire(here, "twice.b")
        here.tenant.tenant.set_manager(ann, bob)
        team = here.tenant.tenant.create_group("Twice", members=[ann, bob])
        start = here.instance.instance.commits.last
        await here.cycle()
        made = [(commit.table, commit.verb) for commit in here.instance.instance.commits.since(start)]
        assert made.count(("sys_user", "insert")) == 2
        assert made.count(("sys_user_group", "insert")) == 1
        assert made.count(("sys_user_grmember", "insert")) == 2
        here.tenant.tenant.update(ann, {"jobTitle": "two"})
        here.tenant.tenant.remove_members(team, [bob])
        start = here.instance.instance.commits.last
        await here.cycle()
        made = [(commit.table, commit.verb) for commit in here.instance.instance.commits.since(start)]
        assert sorted(made) == [("sys_user", "update"), ("sys_user_grmember", "delete")]
        assert record_of(here, "twice.a")["manager"] == record_of(here, "twice.b")["sys_id"]
        assert memberships(here, "Twice") == ["twice.a@contoso.com"]
    finally:
        here.deliveries = 1


# Law 3: a watermark moves only after everything before it is queued


async def test_a_watermark_stays_where_it_is_when_its_page_cannot_be_queued(here: World) -> None:
    ann = hire(here, "unqueued")
    before = await here.services.watermarks.get("users")
    here.held.refuses = lambda queue, _text: queue == USER_EVENTS
    try:
        await here.services.operations.tick()
        await here.pump(patience=0)
        stuck = await here.services.watermarks.get("users")
    finally:
        here.held.refuses = lambda _queue, _text: False
    assert (stuck.generation, stuck.page, stuck.link) == (before.generation, before.page, before.link)
    assert here.user("unqueued@contoso.com") is None

    await here.later(300)
    await here.cycle()
    assert record_of(here, "unqueued")["active"] == "true"
    assert (await here.ended(ann))[0] == "success"


# Law 4: one writer at a time, one owner


async def test_an_object_that_somebody_else_holds_is_left_alone_and_comes_back(here: World) -> None:
    ann = hire(here, "held", jobTitle="one")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    ((_, taken),) = await here.services.joins.take([join], "another worker")
    assert taken.lease is not None
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    start = here.instance.instance.commits.last
    await _notify(here, ann)
    await here.pump(patience=0)
    assert here.instance.instance.commits.last == start
    assert any(ann in message.text for message in here.held.held)

    await here.later(200)
    assert record_of(here, "held")["title"] == "two"


async def test_an_intent_left_behind_makes_the_record_be_compared_before_it_is_believed(here: World) -> None:
    ann = hire(here, "intent", jobTitle="one", city="Lyon")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    # A worker announced a write and died; ServiceNow holds something that no commit speaks of.
    here.instance.instance.set_directly("sys_user", join.sys_id, {"title": "half done"})
    left = replace(join, intent=Intent("Update", "change", here.clock() + timedelta(seconds=60)))
    await here.services.tables.upsert("joins", left.to_row())
    await _notify(here, ann)
    await here.pump()
    assert record_of(here, "intent")["title"] == "one"
    await here.later(120)
    join = await here.services.joins.get("user", ann)
    assert (join.intent, join.dirty) == (None, False)


async def test_what_a_dead_worker_wrote_counts_as_provisioned_and_is_cleared_when_entra_has_nothing_there(here: World) -> None:
    ann = hire(here, "half")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    assert "title" not in join.hashes
    # He wrote a title that Entra held then, and died before his commit. Somebody in ServiceNow wrote the mobile number.
    here.instance.instance.set_directly("sys_user", join.sys_id, {"title": "half done", "mobile_phone": "+43 1 5550"})
    intent = Intent("Update", "change", here.clock() + timedelta(seconds=60), columns=("title",))
    await here.services.tables.upsert("joins", replace(join, intent=intent).to_row())
    await _notify(here, ann)
    await here.pump()
    assert record_of(here, "half")["title"] == ""
    assert record_of(here, "half")["mobile_phone"] == "+43 1 5550"


async def test_a_dirty_row_is_repaired_from_the_record_itself(here: World) -> None:
    ann = hire(here, "dirty", jobTitle="one")
    await here.cycle()
    sys_id = record_of(here, "dirty")["sys_id"]
    here.instance.instance.set_directly("sys_user", sys_id, {"title": "crossed"})
    await here.services.joins.mark_dirty("user", [ann])
    await _notify(here, ann)
    await here.pump()
    assert record_of(here, "dirty")["title"] == "one"
    assert (await here.services.joins.get("user", ann)).dirty is False


async def test_a_worker_that_lost_its_lease_in_the_middle_does_not_commit_and_the_record_is_repaired(here: World) -> None:
    ann = hire(here, "crossing", jobTitle="one")
    await here.cycle()
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    before = await here.services.joins.get("user", ann)
    key = (partition("user", ann), ann)
    # Whoever takes the lease changes the row's ETag: the same happens when another worker takes it over.
    here.instance.instance.configure(slow_next=1, slow_by=0.8)
    await _notify(here, ann)

    pumping = asyncio.get_running_loop().create_task(here.pump())
    async with asyncio.timeout(20):
        while not here.instance.service.semaphores.active:  # noqa: ASYNC110 - the instance announces no event for it
            await asyncio.sleep(0.01)
    await here.services.tables.merge("joins", row(*key, lease_holder="another worker", lease_until=here.clock().isoformat()))
    await pumping
    await here.later(200)
    after = await here.services.joins.get("user", ann)
    assert record_of(here, "crossing")["title"] == "two"
    assert (after.dirty, after.intent) == (False, None)
    assert after.sys_id == before.sys_id


async def test_somebody_whose_row_changes_while_a_full_round_looks_at_him_is_marked_as_seen_all_the_same(here: World) -> None:
    ann = hire(here, "seen")
    await here.cycle()
    store = here.services.joins
    mark_as_it_is = store.mark_seen
    missed: list[set[str]] = []

    async def mark_too_late(joins: Sequence[Join], generation: int) -> set[str]:
        if not missed and any(join.object_id == ann for join in joins):
            # Another worker takes the lease, and gives it back, right before.
            await here.services.tables.merge("joins", row(partition("user", ann), ann, lease_holder=""))
        missed.append(await mark_as_it_is(joins, generation))
        return missed[-1]

    store.mark_seen = mark_too_late  # type: ignore[method-assign] # the seam would be in the middle of one function
    try:
        await here.services.operations.restart("Watermark")
        await here.pump()
    finally:
        store.mark_seen = mark_as_it_is  # type: ignore[method-assign] # as it was
    assert {ann} in missed
    assert (await store.get("user", ann)).generation == (await here.services.watermarks.get("users")).generation


async def test_a_record_that_another_object_owns_is_not_written(here: World) -> None:
    owner = hire(here, "owner", jobTitle="owner's")
    await here.cycle()
    sys_id = record_of(here, "owner")["sys_id"]
    # Its name was changed by hand to what the second person is called.
    here.instance.instance.set_directly("sys_user", sys_id, {"user_name": "claimant@contoso.com"})
    claimant = hire(here, "claimant", jobTitle="claimant's")
    await here.cycle()
    assert await here.ended(claimant) == ("failure", "DuplicateSourceEntries")
    assert here.rows("sys_user")[sys_id]["title"] == "owner's"
    assert await here.services.owners.owner("sys_user", sys_id) == owner


async def test_a_record_that_was_deleted_between_its_match_and_its_claim_is_matched_again(here: World) -> None:
    old = here.tenant.tenant.create_group("Reborn")
    await here.cycle()
    ann = hire(here, "reborn.ann")
    here.tenant.tenant.delete(old)
    new = here.tenant.tenant.create_group("Reborn", members=[ann])
    # The new group finds the old record; right after that the old group's worker deletes it, and gives it up.
    owners, instance = here.services.owners, here.instance.instance
    take_as_it_is = owners.take

    async def take_too_late(claims: Sequence[Claim]) -> list[Ownership]:
        for claim in claims:
            if instance.table("sys_user_group").get(claim.sys_id) is not None and claim.object_id == new:
                instance.delete("sys_user_group", claim.sys_id, SYSTEM)
                await owners.release(replace(claim, object_id=old))
        return await take_as_it_is(claims)

    owners.take = take_too_late  # type: ignore[method-assign] # the seam would be in the middle of one function
    try:
        await here.services.queues.send(ObjectsChanged(kind="group", ids=(new,), reason="notification", occurred_at=here.clock()))
        await here.pump()
    finally:
        owners.take = take_as_it_is  # type: ignore[method-assign] # as it was
    await here.cycle()
    (record,) = [row for row in here.rows("sys_user_group").values() if row["name"] == "Reborn"]
    assert (await here.services.joins.get("group", new)).sys_id == record["sys_id"]
    assert record["active"] == "true"
    assert memberships(here, "Reborn") == ["reborn.ann@contoso.com"]
    # The old one's link still names the record, as if its worker had died before its commit: it does not touch what is there now.
    assert "RecordPassedOn" in str(await here.log_of(old))


async def test_whoever_claims_a_record_that_was_just_given_up_owns_it(here: World) -> None:
    tables, owners = here.services.tables, here.services.owners
    claim = Claim("sys_user", "0" * 32, "second")
    await owners.claim([replace(claim, object_id="first")])
    get_as_it_is = tables.get

    async def given_up_meanwhile(table: str, partition: str, key: str) -> Row | None:
        await tables.delete(table, partition, key)
        tables.get = get_as_it_is  # type: ignore[method-assign] # once
        return await get_as_it_is(table, partition, key)

    tables.get = given_up_meanwhile  # type: ignore[method-assign] # between the insert that failed and the read
    try:
        assert await owners.claim([claim]) == ["second"]
    finally:
        tables.get = get_as_it_is  # type: ignore[method-assign] # as it was
    assert await owners.owner("sys_user", "0" * 32) == "second"


# Law 5: nothing ends silently


async def test_every_object_has_a_reason_in_the_log(here: World) -> None:
    ids = [
        hire(here, "reason.a"),
        hire(here, "reason.b", accountEnabled=False),
        hire(here, "reason.c", department="Nowhere"),
        here.tenant.tenant.create_group("Reasons"),
    ]
    await here.cycle()
    for object_id in ids:
        entries = await here.log_of(object_id)
        assert entries, object_id
        assert all(entry["provisioningSteps"] for entry in entries)
        assert all(entry["provisioningStatusInfo"]["status"] for entry in entries)


# Law 8: taking away needs evidence


async def test_a_404_is_no_evidence_and_deletes_nobody(here: World) -> None:
    ann = hire(here, "hidden")
    await here.cycle()
    hidden = here.tenant.tenant.objects.pop(ann)  # without a word in the delta: as if hidden from us
    here.tenant.tenant.order[hidden.kind].remove(hidden)
    start = here.instance.instance.commits.last
    await _notify(here, ann)
    await here.pump()
    assert here.instance.instance.commits.last == start
    assert await here.ended(ann) == ("skipped", "NotFoundWithoutEvidence")

    await here.services.operations.restart("Watermark")
    await here.pump()
    # Absent from a complete round it counts as out of scope, which disables; only Graph's own word deletes.
    assert record_of(here, "hidden")["active"] == "false"


# Law 9: cost follows the change


async def test_one_member_more_costs_the_same_in_a_small_and_in_a_big_group(here: World) -> None:
    crowd = [hire(here, f"crowd{number}") for number in range(120)]
    small = here.tenant.tenant.create_group("Small", members=crowd[:2])
    big = here.tenant.tenant.create_group("Big", members=crowd[:-1])
    await here.cycle()
    assert len(memberships(here, "Big")) == 119
    await here.later(200)  # what earlier tests have left for later is not to be counted
    await here.cycle()
    costs = []
    for group in (small, big):
        before, graph = here.requests(), sum(here.tenant.api.requests.values())
        here.tenant.tenant.add_members(group, [crowd[-1]])
        await here.cycle()
        costs.append((here.requests() - before, sum(here.tenant.api.requests.values()) - graph))
    assert costs[0] == costs[1]
    assert costs[1][0] <= 3


async def test_a_change_that_no_mapping_reads_costs_servicenow_nothing(here: World) -> None:
    ann = hire(here, "quiet")
    await here.cycle()
    before = here.requests()
    here.tenant.tenant.update(ann, {"usageLocation": "CH"})
    await _notify(here, ann)
    await here.pump()
    assert here.requests() == before


async def test_a_member_whose_row_somebody_else_holds_is_not_taken_for_one_that_a_full_round_left_out(here: World) -> None:
    ann, bob = hire(here, "kept.ann"), hire(here, "kept.bob")
    team = here.tenant.tenant.create_group("Kept", members=dict.fromkeys((ann, bob)))
    await here.cycle()
    assert len(memberships(here, "Kept")) == 2
    # A worker took the row and died: nobody else may note what the round says about it until his lease has ended.
    until = here.clock() + timedelta(seconds=150)
    await here.services.tables.merge(
        "memberships", row(f"g-{team}", ann, lease_holder="a dead worker", lease_until=until.isoformat())
    )
    await here.services.operations.restart("Full")
    pumping = asyncio.get_running_loop().create_task(here.pump(patience=0))
    async with asyncio.timeout(20):
        while not any("membersChanged" in message.text and ann in message.text for message in here.held.held):  # noqa: ASYNC110 - the queues announce no event for it
            await asyncio.sleep(0.01)
    # The round looks twice whether it is settled, and is not: it has to wait for the row.
    seen: set[datetime | None] = set()
    async with asyncio.timeout(20):
        while len(seen) < 3:
            mark = await here.services.watermarks.get("groups")
            assert mark.phase != "idle"
            seen.add(mark.heartbeat if mark.phase == "settling" else None)
            await asyncio.sleep(0.05)  # the chain looks once a second
    here.clock.advance(160)
    await pumping
    await here.cycle()
    mark = await here.services.watermarks.get("groups")
    assert (mark.phase, mark.complete) == ("idle", mark.generation)
    assert len(memberships(here, "Kept")) == 2
    assert not [entry for entry in await here.log_of(team) if "1 removed" in str(entry["provisioningSteps"])]


async def test_a_member_slice_whose_lease_was_lost_in_the_middle_comes_again(here: World) -> None:
    ann = hire(here, "slice.ann")
    team = here.tenant.tenant.create_group("Slice")
    await here.cycle()
    here.tenant.tenant.add_members(team, [ann])
    here.instance.instance.configure(slow_next=1, slow_by=0.8)
    pumping = asyncio.get_running_loop().create_task(here.cycle())
    async with asyncio.timeout(20):
        while not here.instance.service.semaphores.active:  # noqa: ASYNC110 - the instance announces no event for it
            await asyncio.sleep(0.01)
    # Somebody else took the row over and gave it back, without knowing of the slice.
    stranger = row(f"g-{team}", ann, lease_holder="", lease_until="", desired=False, generation=0, intent="")
    await here.services.tables.merge("memberships", stranger)
    await pumping
    await here.later(200)
    assert memberships(here, "Slice") == ["slice.ann@contoso.com"]
    (membership,) = await here.services.memberships.get_many([(team, ann)])
    assert membership.desired
    assert not membership.dirty
