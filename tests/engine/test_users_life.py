"""The turns of a person's life that the packaged schema handles, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.people import hire, memberships, record_of

if TYPE_CHECKING:
    from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _edit(here: World, sys_id: str, **values: str) -> None:
    """What ServiceNow's own people do, rules included."""
    from sandbox.instance.access import SYSTEM

    here.instance.instance.update("sys_user", sys_id, values, SYSTEM)


async def test_hire(here: World) -> None:
    ann = hire(here, "hired", jobTitle="Engineer", accountEnabled=True)
    await here.cycle()
    row = record_of(here, "hired")
    assert (row["active"], row["locked_out"], row["title"]) == ("true", "false", "Engineer")
    entry = (await here.log_of(ann))[0]
    assert (entry["provisioningAction"], entry["targetIdentity"]["id"]) == ("create", row["sys_id"])


async def test_a_hire_who_is_disabled_is_skipped_with_a_reason_and_comes_when_enabled(here: World) -> None:
    ann = hire(here, "hired.disabled", accountEnabled=False)
    await here.cycle()
    assert here.user("hired.disabled@contoso.com") is None
    assert await here.ended(ann) == ("skipped", "NotEffectivelyEntitled")
    here.tenant.tenant.update(ann, {"accountEnabled": True})
    await here.cycle()
    assert record_of(here, "hired.disabled")["active"] == "true"


async def test_a_change_writes_only_what_differs_and_logs_old_and_new(here: World) -> None:
    ann = hire(here, "changes", jobTitle="Engineer", city="Lyon")
    await here.cycle()
    sys_id = record_of(here, "changes")["sys_id"]
    start = here.instance.instance.commits.last
    here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
    await here.cycle()
    (commit,) = here.instance.instance.commits.since(start)
    assert (commit.sys_id, commit.verb, commit.fields) == (sys_id, "update", ("title",))
    (modified,) = (await here.log_of(ann))[0]["modifiedProperties"]
    assert (modified["displayName"], modified["newValue"]) == ("title", "Lead")


async def test_what_was_provisioned_and_is_null_now_is_cleared_and_the_rest_left_alone(here: World) -> None:
    ann = hire(here, "clears", jobTitle="Engineer")
    await here.cycle()
    row = record_of(here, "clears")
    _edit(here, row["sys_id"], city="typed by hand")
    here.tenant.tenant.update(ann, {"jobTitle": None})
    await here.cycle()
    row = record_of(here, "clears")
    assert (row["title"], row["city"]) == ("", "typed by hand")


async def test_a_rename_keeps_the_record(here: World) -> None:
    ann = hire(here, "maiden")
    await here.cycle()
    sys_id = record_of(here, "maiden")["sys_id"]
    here.tenant.tenant.update(ann, {"userPrincipalName": "married@contoso.com", "surname": "New"})
    await here.cycle()
    row = record_of(here, "married")
    assert (row["sys_id"], row["last_name"]) == (sys_id, "New")
    assert here.user("maiden@contoso.com") is None


async def test_two_who_swap_their_names_end_with_them_swapped(here: World) -> None:
    ann, bob = hire(here, "swap.a"), hire(here, "swap.b")
    await here.cycle()
    of_ann, of_bob = record_of(here, "swap.a")["sys_id"], record_of(here, "swap.b")["sys_id"]
    here.tenant.tenant.update(ann, {"userPrincipalName": "swap.c@contoso.com"})
    here.tenant.tenant.update(bob, {"userPrincipalName": "swap.a@contoso.com"})
    await here.cycle()
    here.tenant.tenant.update(ann, {"userPrincipalName": "swap.b@contoso.com"})
    for _ in range(3):
        await here.later(400)
        await here.cycle()
    assert record_of(here, "swap.b")["sys_id"] == of_ann
    assert record_of(here, "swap.a")["sys_id"] == of_bob


async def test_disable_locks_and_enable_unlocks(here: World) -> None:
    ann = hire(here, "pauses", jobTitle="Engineer")
    await here.cycle()
    here.tenant.tenant.update(ann, {"accountEnabled": False, "jobTitle": "On leave"})
    await here.cycle()
    row = record_of(here, "pauses")
    assert (row["active"], row["locked_out"], row["title"]) == ("false", "true", "On leave")
    assert (await here.log_of(ann))[0]["provisioningAction"] == "disable"
    here.tenant.tenant.update(ann, {"accountEnabled": True})
    await here.cycle()
    row = record_of(here, "pauses")
    assert (row["active"], row["locked_out"]) == ("true", "false")


async def test_what_servicenows_people_locked_stays_locked_while_other_attributes_flow(here: World) -> None:
    ann = hire(here, "locked")
    await here.cycle()
    _edit(here, record_of(here, "locked")["sys_id"], locked_out="true")
    here.tenant.tenant.update(ann, {"jobTitle": "still locked"})
    await here.cycle()
    row = record_of(here, "locked")
    assert (row["title"], row["locked_out"], row["active"]) == ("still locked", "true", "true")


async def test_soft_delete_suspends_and_keeps_the_name(here: World) -> None:
    ann = hire(here, "binned")
    here.tenant.tenant.create_group("Binned", members=[ann])
    await here.cycle()
    sys_id = record_of(here, "binned")["sys_id"]
    here.tenant.tenant.delete(ann)
    await here.cycle()
    row = record_of(here, "binned")
    assert (row["sys_id"], row["active"], row["email"]) == (sys_id, "false", "binned@contoso.com")
    assert memberships(here, "Binned") == []
    names = [found["user_name"] for found in here.rows("sys_user").values()]
    assert [name for name in names if name.startswith(ann.replace("-", "")[:8])] == [], "Graph's prefixed UPN must not arrive"

    here.tenant.tenant.restore(ann)
    await here.cycle()
    row = record_of(here, "binned")
    assert (row["sys_id"], row["active"], row["locked_out"]) == (sys_id, "true", "false")
    assert memberships(here, "Binned") == ["binned@contoso.com"]


async def test_permanent_delete_deletes(here: World) -> None:
    ann = hire(here, "purged")
    await here.cycle()
    here.tenant.tenant.delete(ann)
    await here.cycle()
    here.tenant.tenant.purge(ann)
    await here.cycle()
    assert here.user("purged@contoso.com") is None
    entry = (await here.log_of(ann))[0]
    assert (entry["provisioningAction"], entry["provisioningStatusInfo"]["status"]) == ("delete", "success")
    assert await here.services.memberships.of_user(ann) == []


async def test_deleted_and_purged_before_we_looked_deletes(here: World) -> None:
    ann = hire(here, "quick.purge")
    here.tenant.tenant.create_group("Quick", members=[ann])
    await here.cycle()
    here.tenant.tenant.delete(ann)
    here.tenant.tenant.purge(ann)
    await here.cycle()
    assert here.user("quick.purge@contoso.com") is None
    assert memberships(here, "Quick") == []


async def test_deleted_and_restored_before_we_looked_changes_nothing(here: World) -> None:
    ann = hire(here, "quick.restore")
    here.tenant.tenant.create_group("Quicker", members=[ann])
    await here.cycle()
    start = here.instance.instance.commits.last
    here.tenant.tenant.delete(ann)
    here.tenant.tenant.restore(ann)
    await here.cycle()
    assert here.instance.instance.commits.last == start
    assert memberships(here, "Quicker") == ["quick.restore@contoso.com"]


async def test_a_rehire_with_the_old_name_takes_the_record_over_and_the_old_purge_touches_nobody(here: World) -> None:
    old = hire(here, "again", jobTitle="first time", city="Lyon")
    here.tenant.tenant.create_group("Old friends", members=[old])
    await here.cycle()
    sys_id = record_of(here, "again")["sys_id"]
    here.tenant.tenant.delete(old)
    await here.cycle()
    new = hire(here, "again", jobTitle="second time")
    await here.cycle()
    row = record_of(here, "again")
    assert (row["sys_id"], row["title"], row["active"], row["locked_out"]) == (sys_id, "second time", "true", "false")
    assert row["city"] == "", "what was exported for the former owner is not the new one's"
    assert memberships(here, "Old friends") == []
    assert (await here.services.joins.get("user", old)).state == "retired"
    assert await here.services.owners.owner("sys_user", sys_id) == new

    here.tenant.tenant.purge(old)
    await here.cycle()
    assert record_of(here, "again")["title"] == "second time"
    assert record_of(here, "again")["active"] == "true"


async def test_a_guest_has_the_name_that_the_mapping_gives_and_turns_member_in_the_same_record(here: World) -> None:
    guest = hire(
        here,
        "unused",
        userPrincipalName="kim_fabrikam.com#EXT#@contoso.onmicrosoft.com",
        mail="kim@fabrikam.com",
        userType="Guest",
    )
    await here.cycle()
    join = await here.services.joins.get("user", guest)
    assert join.is_linked
    name = here.rows("sys_user")[join.sys_id]["user_name"]
    assert "#EXT#" not in name
    here.tenant.tenant.update(guest, {"userType": "Member", "userPrincipalName": "kim@contoso.com"})
    await here.cycle()
    assert record_of(here, "kim")["sys_id"] == join.sys_id


async def test_a_record_removed_in_servicenow_is_made_again_at_the_next_change(here: World) -> None:
    ann = hire(here, "removed", jobTitle="old")
    await here.cycle()
    gone = record_of(here, "removed")["sys_id"]
    here.instance.instance.table("sys_user").remove(gone)
    here.tenant.tenant.update(ann, {"jobTitle": "new"})
    await here.cycle()
    row = record_of(here, "removed")
    assert (row["title"], row["active"], row["email"]) == ("new", "true", "removed@contoso.com")
    assert (await here.services.joins.get("user", ann)).sys_id == row["sys_id"]


async def test_a_record_edited_in_servicenow_keeps_the_edit_where_entra_does_not_change(here: World) -> None:
    ann = hire(here, "edited", jobTitle="one", city="Lyon")
    await here.cycle()
    _edit(here, record_of(here, "edited")["sys_id"], city="Nice", title="edited")
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    await here.cycle()
    row = record_of(here, "edited")
    assert (row["title"], row["city"]) == ("two", "Nice")


async def test_a_record_that_was_there_before_is_adopted_by_its_name_in_any_case(here: World) -> None:
    made = here.insert("sys_user", user_name="ADOPTED@CONTOSO.COM", city="Nice", active="true")
    ann = hire(here, "adopted", jobTitle="Engineer")
    await here.cycle()
    row = here.rows("sys_user")[made]
    assert (row["title"], row["city"]) == ("Engineer", "Nice")
    assert (await here.services.joins.get("user", ann)).sys_id == made
    assert (await here.services.joins.get("user", ann)).state == "linked"
