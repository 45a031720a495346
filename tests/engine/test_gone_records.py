"""A linked record that was deleted, merged, cloned over or hidden in ServiceNow: noticed, matched again, made again or held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.instance import InstanceConfig
from sandbox.instance.access import SYSTEM
from shared.events import GroupMembersDue, ObjectsChanged, PairsDue, now
from tests.support.people import hire, memberships, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from tests.support.world import World


def _users(here: World, name: str) -> list[dict[str, str]]:
    return [row for row in here.rows("sys_user").values() if row["user_name"] == f"{name}@contoso.com"]


async def test_a_disabled_account_that_the_instance_hides_is_not_made_twice_and_returns_when_it_is_shown(storage: str) -> None:
    async with world(storage, instance=InstanceConfig(hide_inactive_users=True)) as here:
        ann = hire(here, "ann", jobTitle="Engineer")
        await here.cycle()
        here.tenant.tenant.update(ann, {"accountEnabled": False})
        await here.cycle()
        (before,) = _users(here, "ann")
        assert before["active"] == "false"

        # From now on the integration user can neither find nor change the record.
        here.tenant.tenant.update(ann, {"accountEnabled": True, "jobTitle": "Lead"})
        await here.cycle()
        assert [row["active"] for row in _users(here, "ann")] == ["false"]
        assert await here.ended(ann) == ("failure", "EntryConflict")
        asked = here.requests()
        await here.cycle()
        assert here.requests() == asked, "it waits for its time, it does not ask again and again"

        here.instance.instance.configure(hide_inactive_users=False)
        await here.later(90)
        await here.cycle()
        (after,) = _users(here, "ann")
        assert (after["sys_id"], after["active"], after["title"]) == (before["sys_id"], "true", "Lead")


async def test_disabled_accounts_that_the_instance_hides_are_reported_by_the_verification_and_do_not_pile_up_as_failures(
    storage: str,
) -> None:
    async with world(storage, instance=InstanceConfig(hide_inactive_users=True)) as here:
        people = [hire(here, name) for name in ("ann", "bob")]
        await here.cycle()
        here.tenant.tenant.update(people[0], {"accountEnabled": False})
        await here.cycle()
        await here.services.verification.begin()
        await here.pump()
        assert (await here.services.verification.status())["counts"]["recordGone"] == 1
        assert await here.ended(people[0]) == ("warning", "RecordGone")
        assert await here.services.escrows.counts() == {}


async def test_a_record_that_was_deleted_comes_back_with_its_memberships_and_its_reports(storage: str) -> None:
    async with world(storage) as here:
        boss, ann = hire(here, "boss"), hire(here, "ann")
        here.tenant.tenant.set_manager(ann, boss)
        here.tenant.tenant.create_group("Team", members=[ann, boss])
        await here.cycle()
        before = record_of(here, "boss")["sys_id"]
        here.instance.instance.delete("sys_user", before, SYSTEM)
        assert record_of(here, "ann")["manager"] == ""
        assert memberships(here, "Team") == ["ann@contoso.com"]

        here.tenant.tenant.update(boss, {"jobTitle": "Director"})
        await here.cycle()
        assert record_of(here, "boss")["sys_id"] == before, "made again under the id that its name gives it"
        assert record_of(here, "ann")["manager"] == before
        assert memberships(here, "Team") == ["ann@contoso.com", "boss@contoso.com"]


async def test_a_group_that_was_deleted_comes_back_with_its_members(storage: str) -> None:
    async with world(storage) as here:
        here.insert("sys_user_group", name="Network")
        people = [hire(here, name) for name in ("ann", "bob")]
        team = here.tenant.tenant.create_group("Team", members=people)
        await here.cycle()
        (before,) = [sys_id for sys_id, row in here.rows("sys_user_group").items() if row["name"] == "Team"]
        here.instance.instance.delete("sys_user_group", before, SYSTEM)
        assert not here.rows("sys_user_grmember")

        here.tenant.tenant.update(team, {"description": "All of us"})
        await here.cycle()
        assert memberships(here, "Team") == ["ann@contoso.com", "bob@contoso.com"]


async def test_nobody_is_taken_out_of_a_group_because_his_record_is_not_there_or_he_is_out_of_scope(storage: str) -> None:
    """What is asked for again is judged by the same rule as what is believed: a doubt is no reason to take anything away."""
    async with world(storage) as here:
        ann, bob = hire(here, "ann"), hire(here, "bob")
        team = here.tenant.tenant.create_group("Team", members=[ann, bob])
        await here.cycle()
        both = ["ann@contoso.com", "bob@contoso.com"]
        assert memberships(here, "Team") == both
        joins, tables = here.services.joins, here.services.tables
        lost = replace(await joins.get("user", ann), sys_id="")
        away = replace(await joins.get("user", bob), state="unmanaged")
        for join in (lost, away):
            await tables.upsert("joins", join.to_row())
        await here.services.memberships.mark_dirty([(team, ann), (team, bob)])
        await here.services.queues.send(PairsDue(pairs=((team, ann), (team, bob)), reason="verify"))
        await here.pump()
        assert memberships(here, "Team") == both
        rows = await here.services.memberships.get_many([(team, ann), (team, bob)])
        assert [(bool(row.sys_id), row.dirty) for row in rows] == [(True, False)] * 2


async def test_a_membership_that_was_on_its_way_when_its_group_was_deleted_does_not_stay(storage: str) -> None:
    async with world(storage) as here:
        here.insert("sys_user_group", name="Network")
        ann, bob = hire(here, "ann"), hire(here, "bob")
        team = here.tenant.tenant.create_group("Team", members=[ann, bob])
        await here.cycle()
        (row,) = [row for row in here.rows("sys_user_grmember").values() if row["user"] == record_of(here, "ann")["sys_id"]]
        here.tenant.tenant.delete(team)
        await here.services.queues.send(
            ObjectsChanged(kind="group", ids=(team,), reason="notification", occurred_at=now(), gone=True)
        )
        await here.pump(until=lambda: len(here.rows("sys_user_group")) == 1)
        # ServiceNow has deleted it with the group; another worker's request for it comes right after.
        here.instance.instance.insert("sys_user_grmember", {"user": row["user"], "group": row["group"]}, SYSTEM)
        await here.pump()
        assert here.rows("sys_user_grmember") == {}

        # A new group of that name has the same sys_id: what the old one left behind takes nobody out of it.
        here.tenant.tenant.create_group("Team", members=[ann])
        await here.cycle()
        await here.services.queues.send(GroupMembersDue(group_id=team, reason="scope"))
        await here.services.memberships.mark_dirty([(team, ann)])
        await here.pump()
        assert memberships(here, "Team") == ["ann@contoso.com"]


async def test_a_record_that_was_merged_into_another_is_followed_to_it_with_its_memberships(storage: str) -> None:
    async with world(storage) as here:
        survivor = here.insert("sys_user", user_name="a.old", first_name="Ann")
        ann = hire(here, "ann", jobTitle="Engineer")
        here.tenant.tenant.create_group("Team", members=[ann])
        await here.cycle()
        merged = record_of(here, "ann")["sys_id"]
        assert merged != survivor

        # ServiceNow's people keep the older account: what pointed at the other one points at it now, and it takes its name.
        (row,) = here.rows("sys_user_grmember").values()
        here.instance.instance.update("sys_user_grmember", row["sys_id"], {"user": survivor}, SYSTEM)
        here.instance.instance.delete("sys_user", merged, SYSTEM)
        here.instance.instance.update("sys_user", survivor, {"user_name": "ann@contoso.com"}, SYSTEM)
        here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
        await here.cycle()

        assert (record_of(here, "ann")["sys_id"], record_of(here, "ann")["title"]) == (survivor, "Lead")
        assert memberships(here, "Team") == ["ann@contoso.com"]
        here.tenant.tenant.update(ann, {"accountEnabled": False})
        await here.cycle()
        assert record_of(here, "ann")["active"] == "false"


async def test_an_instance_that_was_cloned_over_is_matched_again_record_by_record(storage: str) -> None:
    async with world(storage) as here:
        people = {name: hire(here, name, jobTitle="Engineer") for name in ("ann", "bob", "eve")}
        here.tenant.tenant.create_group("Team", members=list(people.values()))
        await here.cycle()

        # The clone's source knows Ann and Bob under other sys_ids, has not heard of Eve, and has no memberships.
        for table in ("sys_user_grmember", "sys_user"):
            for sys_id, row in here.rows(table).items():
                if row["sys_created_by"] == "entra.provisioning":
                    here.instance.instance.delete(table, sys_id, SYSTEM)
        clones = {name: here.insert("sys_user", user_name=f"{name}@contoso.com", title="Before") for name in ("ann", "bob")}
        await here.services.operations.restart("ConnectorDataStore")
        await here.pump()
        await here.cycle()

        assert {name: record_of(here, name)["sys_id"] for name in clones} == clones
        assert [record_of(here, name)["title"] for name in people] == ["Engineer"] * 3
        assert memberships(here, "Team") == ["ann@contoso.com", "bob@contoso.com", "eve@contoso.com"]
