"""Groups and members that do not fit: nameless, nested, of devices, guarded, doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sandbox.instance import InstanceConfig
from sandbox.tenant import Kind
from tests.support.people import hire, memberships, record_of
from tests.support.world import World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(storage: str) -> AsyncIterator[World]:
    async with world(storage, instance=InstanceConfig(unique_group_names=True)) as made:
        await made.cycle()
        yield made


def _group(here: World, name: str) -> dict[str, str]:
    (row,) = [row for row in here.rows("sys_user_group").values() if row["name"] == name]
    return row


async def test_a_group_without_a_name_waits_for_one_and_its_members_with_it(here: World) -> None:
    ann = hire(here, "ann.nameless")
    team = here.tenant.tenant.create_group("Nameless", members=[ann])
    here.tenant.tenant.objects[team].properties["displayName"] = None
    before = here.rows("sys_user_group")
    await here.cycle()
    assert here.rows("sys_user_group") == before
    # Its newest entries are about the group itself and about the member who waits for it.
    codes = {(entry["provisioningStatusInfo"]["errorInformation"] or {}).get("errorCode") for entry in await here.log_of(team)}
    assert "MissingValues" in codes

    here.tenant.tenant.update(team, {"displayName": "Named"})
    await here.cycle()
    assert memberships(here, "Named") == ["ann.nameless@contoso.com"]


async def test_members_that_are_groups_or_devices_are_left_out_and_the_people_come(here: World) -> None:
    ann, bob = hire(here, "ann.outer"), hire(here, "bob.inner")
    inner = here.tenant.tenant.create_group("Inner", members=[bob])
    device = here.tenant.tenant.create(Kind.DEVICE, {"displayName": "LAPTOP-1"}).id
    here.tenant.tenant.create_group("Outer", members=[ann, inner, device])
    await here.cycle()
    assert memberships(here, "Outer") == ["ann.outer@contoso.com"]
    assert memberships(here, "Inner") == ["bob.inner@contoso.com"]
    assert await here.services.escrows.waiting_for_object(device) == []


async def test_a_group_renamed_to_a_taken_name_keeps_the_old_one_until_it_is_free(here: World) -> None:
    taken = here.insert("sys_user_group", name="Taken")
    crew = here.tenant.tenant.create_group("Crew", description="old")
    await here.cycle()
    here.tenant.tenant.update(crew, {"displayName": "Taken", "description": "new"})
    await here.cycle()
    assert _group(here, "Crew")["description"] == "old"
    status, code = await here.ended(crew)
    assert (status, code) == ("failure", "EntryConflict")

    here.instance.instance.set_directly("sys_user_group", taken, {"name": "Free again"})
    await here.later(120)
    await here.cycle()
    assert _group(here, "Taken")["description"] == "new"


async def test_a_new_group_takes_over_the_group_of_its_name_that_was_there(here: World) -> None:
    made = here.insert("sys_user_group", name="By hand", description="made by hand")
    here.tenant.tenant.create_group("By hand", description="from Entra")
    await here.cycle()
    assert _group(here, "By hand")["sys_id"] == made
    assert _group(here, "By hand")["description"] == "from Entra"


async def test_two_groups_of_one_name_do_not_share_a_record(here: World) -> None:
    first = here.tenant.tenant.create_group("Same", description="first")
    await here.cycle()
    second = here.tenant.tenant.create_group("Same", description="second")
    await here.cycle()
    assert _group(here, "Same")["description"] == "first"
    assert (await here.ended(first))[0] == "success"
    assert await here.ended(second) == ("failure", "DuplicateSourceEntries")


async def test_a_group_deleted_and_made_again_gets_its_record_and_members_back(here: World) -> None:
    ann, bob = hire(here, "ann.again"), hire(here, "bob.again")
    first = here.tenant.tenant.create_group("Again", members=[ann])
    await here.cycle()
    here.tenant.tenant.delete(first)
    here.tenant.tenant.create_group("Again", members=[bob])
    await here.cycle()
    await here.cycle()
    row = _group(here, "Again")
    assert row["active"] == "true"
    assert memberships(here, "Again") == ["bob.again@contoso.com"]


async def test_a_group_that_grants_admin_refuses_its_members_alone_and_they_come_when_it_does_not(here: World) -> None:
    ann = hire(here, "ann.admin")
    guarded = here.tenant.tenant.create_group("Guarded")
    await here.cycle()
    (role,) = [row["sys_id"] for row in here.rows("sys_user_role").values() if row["name"] == "admin"]
    grant = here.insert("sys_group_has_role", group=_group(here, "Guarded")["sys_id"], role=role)
    other = here.tenant.tenant.create_group("Harmless")
    here.tenant.tenant.add_members(guarded, [ann])
    here.tenant.tenant.add_members(other, [ann])
    await here.cycle()
    assert memberships(here, "Guarded") == []
    assert memberships(here, "Harmless") == ["ann.admin@contoso.com"]
    assert await here.ended(guarded) == ("failure", "InsufficientRights")
    assert (await here.services.jobs.get(fresh=True)).quarantine is None

    here.instance.instance.table("sys_group_has_role").remove(grant)
    await here.later(120)
    await here.cycle()
    assert memberships(here, "Guarded") == ["ann.admin@contoso.com"]
    assert f"pair:{guarded}:{ann}" not in {escrow.waiter for escrow in (await here.services.escrows.page(size=50, token=None))[0]}


async def test_a_member_who_is_provisioned_later_is_linked_then(here: World) -> None:
    ann = hire(here, "ann.late", accountEnabled=False)
    team = here.tenant.tenant.create_group("Waiting", members=[ann])
    await here.cycle()
    assert memberships(here, "Waiting") == []
    assert await here.ended(team) == ("skipped", "WaitsForMembers")
    here.tenant.tenant.update(ann, {"accountEnabled": True})
    await here.cycle()
    assert memberships(here, "Waiting") == ["ann.late@contoso.com"]


async def test_a_membership_made_by_hand_is_adopted_and_its_double_removed(here: World) -> None:
    ann = hire(here, "ann.hand")
    team = here.tenant.tenant.create_group("Doubled")
    await here.cycle()
    pair = {"user": record_of(here, "ann.hand")["sys_id"], "group": _group(here, "Doubled")["sys_id"]}
    made = {here.insert("sys_user_grmember", **pair) for _ in range(3)}
    here.tenant.tenant.add_members(team, [ann])
    await here.cycle()
    assert memberships(here, "Doubled") == ["ann.hand@contoso.com"]
    kept = {sys_id for sys_id, row in here.rows("sys_user_grmember").items() if row["group"] == pair["group"]}
    assert kept < made


async def test_who_leaves_a_group_leaves_it_with_every_double(here: World) -> None:
    ann = hire(here, "ann.leaves")
    team = here.tenant.tenant.create_group("Left", members=[ann])
    await here.cycle()
    here.insert("sys_user_grmember", user=record_of(here, "ann.leaves")["sys_id"], group=_group(here, "Left")["sys_id"])
    assert len(memberships(here, "Left")) == 2
    here.tenant.tenant.remove_members(team, [ann])
    await here.cycle()
    assert memberships(here, "Left") == []


async def test_a_member_added_by_servicenows_people_stays(here: World) -> None:
    ann = hire(here, "ann.ours")
    team = here.tenant.tenant.create_group("Mixed", members=[ann])
    await here.cycle()
    stranger = here.insert("sys_user", user_name="theirs@contoso.com")
    here.insert("sys_user_grmember", user=stranger, group=_group(here, "Mixed")["sys_id"])
    here.tenant.tenant.remove_members(team, [ann])
    await here.cycle()
    assert memberships(here, "Mixed") == ["theirs@contoso.com"]


async def test_a_disabled_member_keeps_his_membership_and_a_deleted_one_loses_it(here: World) -> None:
    ann, bob = hire(here, "ann.rests"), hire(here, "bob.goes")
    here.tenant.tenant.create_group("Resting", members=[ann, bob])
    await here.cycle()
    here.tenant.tenant.update(ann, {"accountEnabled": False})
    here.tenant.tenant.delete(bob)
    await here.cycle()
    assert memberships(here, "Resting") == ["ann.rests@contoso.com"]
    here.tenant.tenant.restore(bob)
    await here.cycle()
    assert memberships(here, "Resting") == ["ann.rests@contoso.com", "bob.goes@contoso.com"]
