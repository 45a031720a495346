"""Work that a worker left behind in the middle, and that whoever takes it over cannot finish at once either.

What the first one may have written is known only by the intent that he left: it stands until somebody has come to an end.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.instance.access import SYSTEM
from shared.errors import UnavailableError
from shared.events import USER_EVENTS, ObjectsChanged, ObjectsSnapshot, PairsDue, encode, new_id
from shared.servicenow.sys_ids import derived_sys_id
from shared.state.escrows import Escrow
from shared.state.joins import Join, JoinState
from shared.state.leases import Intent
from shared.state.owners import Claim
from tests.support.people import hire, memberships, record_of

if TYPE_CHECKING:
    from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _leave(here: World, join: Join, verb: str, *, sys_id: str = "", columns: tuple[str, ...] = ()) -> Join:
    """The row as a worker left it who died after his request."""
    until = here.clock() - timedelta(seconds=1)
    intent = Intent(verb, "his change", until, sys_id, columns)
    return replace(join, intent=intent, lease_holder="a dead worker", lease_until=until)


async def _notify(here: World, *ids: str) -> None:
    await here.services.queues.send(ObjectsChanged(kind="user", ids=ids, reason="notification", occurred_at=here.clock()))


async def _fail_once(here: World, side: str) -> None:
    """Process what is queued, with one side that does not answer; what was to be done is left for later."""
    if side == "Graph":
        here.tenant.tenant.faults = replace(here.tenant.tenant.faults, throttle_next=1, throttle_retry_after=60)
    else:
        here.instance.instance.configure(throttle_next=1)
    await here.pump(patience=0)
    assert here.tenant.tenant.faults.throttle_next == 0
    assert here.held.next_due is not None


async def test_the_first_groups_of_an_instance_are_created_though_a_worker_died_between_their_claim_and_their_request(
    here: World,
) -> None:
    assert not here.rows("sys_user_group")
    team = here.tenant.tenant.create_group("First")
    claim = Claim("sys_user_group", derived_sys_id("sys_user_group", "name", "first"), team)
    await here.services.owners.claim([claim])
    await here.cycle()
    await here.later(300)
    assert [row["name"] for row in here.rows("sys_user_group").values()] == ["First"]


@pytest.mark.parametrize("side", ["Graph", "ServiceNow"])
async def test_an_account_that_a_dead_worker_created_is_disabled_if_its_owner_is_gone_when_it_is_found(
    here: World, side: str
) -> None:
    ann = hire(here, f"left.{side}")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    unborn = replace(Join("user", ann), etag=join.etag)
    await here.services.tables.upsert("joins", _leave(here, unborn, "Insert", sys_id=join.sys_id).to_row())
    await _notify(here, ann)
    await _fail_once(here, side)

    here.tenant.tenant.delete(ann)
    await here.later(300)
    assert record_of(here, f"left.{side}")["active"] == "false"


async def test_what_a_dead_worker_wrote_is_cleared_for_the_one_who_is_hired_in_his_place(here: World) -> None:
    first = hire(here, "seat", jobTitle="one")
    await here.cycle()
    join = await here.services.joins.get("user", first)
    unborn = replace(Join("user", first), etag=join.etag)
    left = _leave(here, unborn, "Insert", sys_id=join.sys_id, columns=("user_name", "title"))
    await here.services.tables.upsert("joins", left.to_row())
    here.tenant.tenant.delete(first)
    here.tenant.tenant.purge(first)
    second = hire(here, "seat")
    await _notify(here, second)
    await here.pump()
    assert (await here.services.joins.get("user", second)).sys_id == join.sys_id
    assert record_of(here, "seat")["title"] == ""


@pytest.mark.parametrize("side", ["Graph", "ServiceNow"])
async def test_what_a_dead_worker_wrote_is_in_the_log(here: World, side: str) -> None:
    ann = hire(here, f"told.{side}", jobTitle="one")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    here.instance.instance.set_directly("sys_user", join.sys_id, {"title": "two"})
    await here.services.tables.upsert("joins", _leave(here, join, "Update", columns=("title",)).to_row())
    at = here.clock()
    await _notify(here, ann)
    await _fail_once(here, side)
    await here.later(300)
    assert await here.ended(ann) == ("skipped", "RedundantExport")
    assert (await here.log_of(ann))[0]["activityDateTime"] > at.isoformat()
    assert (await here.services.joins.get("user", ann)).intent is None


async def test_what_was_written_before_the_rest_of_the_chunk_failed_is_in_the_log_and_counts_as_provisioned(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = hire(here, "chunk")
    await here.cycle()
    failures = [UnavailableError("the roles cannot be read", retry_after=60.0)]

    async def fail(*_: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr("shared.provisioning.objects.follow_app_roles", fail)
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    await _notify(here, ann)
    await here.pump(patience=0)
    assert record_of(here, "chunk")["title"] == "two"
    entries = len(await here.log_of(ann))

    here.tenant.tenant.update(ann, {"jobTitle": None})
    await here.later(300)
    assert record_of(here, "chunk")["title"] == ""
    assert len(await here.log_of(ann)) > entries


async def test_nobody_takes_over_while_the_request_of_a_worker_that_was_stopped_may_be_under_way(here: World) -> None:
    ann = hire(here, "stopped", jobTitle="one")
    await here.cycle()
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    here.instance.instance.configure(slow_next=1, slow_by=5.0)
    event = ObjectsChanged(kind="user", ids=(ann,), reason="notification", occurred_at=here.clock())
    handling = asyncio.get_running_loop().create_task(here.services.dispatcher.handle(USER_EVENTS, encode(event)))
    async with asyncio.timeout(20):
        while not here.instance.service.semaphores.active:  # noqa: ASYNC110 - the instance announces no event for it
            await asyncio.sleep(0.01)
    handling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await handling
    join = await here.services.joins.get("user", ann)
    assert join.is_held(here.clock())
    assert join.intent is not None

    await here.services.queues.send(event)
    await here.later(300)
    assert record_of(here, "stopped")["title"] == "two"
    assert (await here.services.joins.get("user", ann)).intent is None


async def _is_doubted(here: World, object_id: str) -> bool:
    return (await here.services.joins.get("user", object_id)).dirty


async def test_nothing_is_committed_that_was_taken_over_before_its_second_look_is_queued(here: World) -> None:
    ann = hire(here, "second.look", jobTitle="one")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    await here.services.tables.upsert("joins", _leave(here, join, "Update", sys_id=join.sys_id, columns=("title",)).to_row())
    here.held.refuses = lambda _queue, text: '"verify"' in text
    try:
        await _notify(here, ann)
        await here.pump(patience=0)
    finally:
        here.held.refuses = lambda _queue, _text: False
    assert (await here.services.joins.get("user", ann)).intent is not None

    await here.later(300)
    assert not await _is_doubted(here, ann)
    assert (await here.services.joins.get("user", ann)).intent is None


async def test_a_full_round_looks_at_a_doubt_that_is_younger_than_its_page(here: World) -> None:
    ann = hire(here, "young.doubt", jobTitle="one")
    read_at = here.clock()
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    here.instance.instance.set_directly("sys_user", join.sys_id, {"title": "crossed"})
    await here.services.joins.mark_dirty("user", [ann])
    item = {"id": ann, "userPrincipalName": "young.doubt@contoso.com", "accountEnabled": True, "jobTitle": "older"}
    snapshot = ObjectsSnapshot(
        kind="user",
        generation=join.generation + 1,
        page=0,
        chunk=0,
        cycle_id=new_id(),
        read_at=read_at,
        items=(item,),
    )
    await here.services.dispatcher.handle(USER_EVENTS, encode(snapshot))
    await here.pump()
    assert record_of(here, "young.doubt")["title"] == "one"
    assert not await _is_doubted(here, ann)
    assert (await here.services.joins.get("user", ann)).generation == join.generation + 1


async def test_a_wait_that_was_noted_by_a_worker_who_had_lost_his_lease_ends_with_the_next_look(here: World) -> None:
    chief, ann = hire(here, "noted.chief"), hire(here, "noted.ann")
    await here.cycle()
    # He noted the wait after somebody else had linked her to her manager, and found his lease gone.
    await here.services.escrows.write([Escrow.on_object(chief, f"user:{ann}", "the manager is not there", here.clock())])
    await here.services.joins.mark_dirty("user", [ann])
    await _notify(here, ann)
    await here.pump()
    assert await here.services.escrows.waiting_for_object(chief) == []


@pytest.mark.parametrize("side", ["Graph", "ServiceNow"])
async def test_whoever_waits_for_an_account_that_a_dead_worker_created_is_released_though_the_next_worker_fails_at_first(
    here: World, side: str
) -> None:
    chief, ann = hire(here, f"made.chief.{side}", accountEnabled=False), hire(here, f"made.ann.{side}")
    await here.cycle()
    here.tenant.tenant.set_manager(ann, chief)
    await _notify(here, ann)
    await here.pump()
    assert len(await here.services.escrows.waiting_for_object(chief)) == 1
    sys_id = derived_sys_id("sys_user", "user_name", f"made.chief.{side}@contoso.com".casefold())
    here.insert("sys_user", sys_id=sys_id, user_name=f"made.chief.{side}@contoso.com")
    await here.services.owners.claim([Claim("sys_user", sys_id, chief)])
    join = await here.services.joins.get("user", chief)
    await here.services.tables.upsert("joins", _leave(here, join, "Insert", sys_id=sys_id).to_row())
    here.tenant.tenant.update(chief, {"accountEnabled": True})
    await _notify(here, chief)
    await _fail_once(here, side)
    await here.later(300)
    assert record_of(here, f"made.ann.{side}")["manager"] == sys_id
    assert await here.services.escrows.waiting_for_object(chief) == []


@pytest.mark.parametrize("state", ["gone", "deleted"])
async def test_an_account_that_was_created_too_late_is_deleted_if_graph_once_said_that_its_owner_is_gone_for_good(
    here: World, state: JoinState
) -> None:
    ann = hire(here, f"late.{state}")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    here.tenant.tenant.delete(ann)
    here.tenant.tenant.purge(ann)
    # A 404 alone is no evidence; the record of somebody unassigned is deleted, too.
    unborn = replace(Join("user", ann, state=state), etag=join.etag)
    await here.services.tables.upsert("joins", _leave(here, unborn, "Insert", sys_id=join.sys_id).to_row())
    await _notify(here, ann)
    await here.pump()
    record = here.user(f"late.{state}@contoso.com")
    assert record is None if state == "gone" else record is not None and record["active"] == "true"


async def test_whoever_could_not_commit_does_not_wait_for_his_own_lease(here: World) -> None:
    ann = hire(here, "own.lease")
    refused: list[str] = []

    def once(_queue: str, text: str) -> bool:
        if refused or '"followUpsDue"' not in text:
            return False
        refused.append(text)
        return True

    here.held.refuses = once
    try:
        await _notify(here, ann)
        await here.pump(patience=0)
        assert refused
        await here.later(20)
    finally:
        here.held.refuses = lambda _queue, _text: False
    join = await here.services.joins.get("user", ann)
    assert (join.sys_id, join.intent) == (record_of(here, "own.lease")["sys_id"], None)
    assert "success" in {entry["provisioningStatusInfo"]["status"] for entry in await here.log_of(ann)}


@pytest.mark.parametrize("is_member", [True, False])
async def test_a_membership_that_a_dead_worker_wrote_is_not_forgotten(here: World, *, is_member: bool) -> None:
    name = f"crew.{is_member}".lower()
    ann = hire(here, name)
    team = here.tenant.tenant.create_group(name, members=[] if is_member else [ann])
    await here.cycle()
    (row,) = await here.services.memberships.get_many([(team, ann)])
    user, group = record_of(here, name)["sys_id"], (await here.services.joins.get("group", team)).sys_id
    # He added a member who has left since, or removed one who has come back.
    if is_member:
        await here.services.memberships.index([(team, ann)])
        here.insert("sys_user_grmember", user=user, group=group)
    else:
        here.instance.instance.delete("sys_user_grmember", row.sys_id, SYSTEM)
    until = here.clock() - timedelta(seconds=1)
    intent = Intent("add" if is_member else "remove", "his change", until)
    left = replace(row, user_sys_id=user, group_sys_id=group, intent=intent, lease_holder="a dead worker", lease_until=until)
    await here.services.tables.upsert("memberships", left.to_row())
    entries = len(await here.log_of(team))
    await here.services.queues.send(PairsDue(pairs=((team, ann),), reason="released"))
    await _fail_once(here, "ServiceNow")
    (row,) = await here.services.memberships.get_many([(team, ann)])
    assert row.intent is not None

    await here.later(300)
    assert memberships(here, name) == ([] if is_member else [f"{name}@contoso.com"])
    assert len(await here.log_of(team)) > entries
    (row,) = await here.services.memberships.get_many([(team, ann)])
    assert row.intent is None


async def test_a_removal_by_a_dead_worker_is_in_the_log_though_the_next_one_fails_after_he_saw_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = hire(here, "left.crew")
    team = here.tenant.tenant.create_group("Left crew", members=[ann])
    await here.cycle()
    (row,) = await here.services.memberships.get_many([(team, ann)])
    here.tenant.tenant.remove_members(team, [ann])
    here.instance.instance.delete("sys_user_grmember", row.sys_id, SYSTEM)
    until = here.clock() - timedelta(seconds=1)
    intent = Intent("remove", "his change", until)
    left = replace(row, desired=False, intent=intent, lease_holder="a dead worker", lease_until=until)
    await here.services.tables.upsert("memberships", left.to_row())
    entries, owner = len(await here.log_of(team)), here.services.owners.owner
    failures = [UnavailableError("storage is away", retry_after=60.0)]

    async def fail(table: str, sys_id: str) -> str:
        if failures:
            raise failures.pop()
        return await owner(table, sys_id)

    monkeypatch.setattr(here.services.owners, "owner", fail)
    await here.services.queues.send(PairsDue(pairs=((team, ann),), reason="released"))
    await here.pump(patience=0)
    assert not failures
    (row,) = await here.services.memberships.get_many([(team, ann)])
    assert row.intent is not None

    await here.later(300)
    assert len(await here.log_of(team)) > entries
    (row,) = await here.services.memberships.get_many([(team, ann)])
    assert row.intent is None


async def test_the_end_of_a_membership_names_the_record_of_a_group_that_is_gone_by_then(here: World) -> None:
    ann = hire(here, "last.member")
    team = here.tenant.tenant.create_group("Last", members=[ann])
    await here.cycle()
    join = await here.services.joins.get("group", team)
    await here.services.tables.upsert("joins", replace(join, sys_id="", state="deleted").to_row())
    await here.services.queues.send(PairsDue(pairs=((team, ann),), reason="released"))
    await here.pump()
    assert memberships(here, "Last") == []
    (entry, *_) = await here.log_of(team)
    assert entry["targetIdentity"]["id"] == join.sys_id


async def test_a_wait_that_was_noted_by_a_worker_who_died_before_his_commit_ends_with_the_next_look(here: World) -> None:
    chief = hire(here, "late.chief", accountEnabled=False)
    ann, bob = hire(here, "orphan.ann"), hire(here, "orphan.bob")
    here.tenant.tenant.set_manager(bob, chief)
    await here.cycle()
    # Ann's worker noted the wait, and died; by the time somebody looked at her again she had no manager.
    orphan = Escrow.on_object(chief, f"user:{ann}", "the manager is not there", here.clock())
    await here.services.escrows.write([orphan])
    join = await here.services.joins.get("user", ann)
    left = replace(join, lease_holder="a dead worker", lease_until=here.clock() - timedelta(seconds=1))
    await here.services.tables.upsert("joins", left.to_row())
    assert {escrow.waiter for escrow in await here.services.escrows.waiting_for_object(chief)} == {f"user:{ann}", f"user:{bob}"}

    await _notify(here, ann)
    await here.pump()
    assert {escrow.waiter for escrow in await here.services.escrows.waiting_for_object(chief)} == {f"user:{bob}"}

    here.tenant.tenant.update(chief, {"accountEnabled": True})
    await here.cycle()
    assert await here.services.escrows.waiting_for_object(chief) == []
    assert record_of(here, "orphan.bob")["manager"] == record_of(here, "late.chief")["sys_id"]
    assert record_of(here, "orphan.ann")["manager"] == ""
