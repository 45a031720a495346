"""Turns of a group's life in a company with the packaged mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.tenant import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.e2e.lives.company import Company


async def created_renamed_and_deactivated(here: Company) -> AsyncGenerator[None]:
    yield
    crew = here.tenant.create_group("Team", description="old", groupTypes=["Unified"], mailEnabled=True)
    record = await here.group_becomes("Team", description="old", active="true")
    here.tenant.update(crew, {"displayName": "Crew", "description": "new"})
    assert await here.group_becomes("Crew", description="new", active="true") == record
    here.tenant.delete(crew)
    assert await here.group_becomes("Crew", active="false") == record
    here.tenant.restore(crew)
    assert await here.group_becomes("Crew", active="true") == record
    # A security group has no recycle bin: it is gone for good at once.
    here.tenant.delete(here.tenant.create_group("Short-lived"))
    closed = here.tenant.create_group("Closed")
    await here.group_becomes("Closed", active="true")
    here.tenant.delete(closed)
    await here.group_vanishes("Closed")
    yield
    assert here.group("Short-lived") is None


async def renamed_to_a_taken_name(here: Company) -> AsyncGenerator[None]:
    taken = here.insert("sys_user_group", name="Taken")
    first = here.tenant.create_group("First name", description="old")
    yield
    await here.group_becomes("First name", description="old")
    here.tenant.update(first, {"displayName": "Taken", "description": "new"})
    await here.ends(first, "failure", "EntryConflict")
    await here.group_becomes("First name", description="old")
    here.edit("sys_user_group", taken, name="Free again")
    await here.retry_escrow_of(first)
    await here.group_becomes("Taken", description="new")


async def made_again(here: Company) -> AsyncGenerator[None]:
    ann, bob = here.hire("ann.again"), here.hire("bob.again")
    first = here.tenant.create_group("Again", members=[ann])
    yield
    await here.group_has("Again", "ann.again")
    here.tenant.delete(first)
    here.tenant.create_group("Again", members=[bob])
    await here.group_becomes("Again", active="true")
    await here.group_has("Again", "bob.again")
    yield
    assert here.members("Again") == ["bob.again"]


async def turned_dynamic(here: Company) -> AsyncGenerator[None]:
    ann, bob = here.hire("ann.ruled", city="Lyon"), here.hire("bob.ruled", city="Lyon")
    team = here.tenant.create_group("Ruled", members=[ann])
    yield
    record = await here.group_becomes("Ruled", active="true")
    await here.group_has("Ruled", "ann.ruled")
    rule = {"groupTypes": ["DynamicMembership"], "membershipRule": 'user.city -eq "Lyon"', "membershipRuleProcessingState": "On"}
    here.tenant.update(team, {**rule, "description": "by rule"})
    # The tenant does not evaluate rules: this is what Entra ID makes of it.
    here.tenant.add_members(team, [bob])
    assert await here.group_becomes("Ruled", description="by rule") == record
    await here.group_has("Ruled", "ann.ruled", "bob.ruled")


async def members_come_and_go(here: Company) -> AsyncGenerator[None]:
    ann, bob, cleo = (here.hire(f"{name}.moves") for name in ("ann", "bob", "cleo"))
    team = here.tenant.create_group("Moving", members=[ann, bob])
    yield
    await here.group_has("Moving", "ann.moves", "bob.moves")
    before = {row["sys_id"] for row in here.instance.table("sys_user_grmember")}
    here.tenant.add_members(team, [cleo])
    await here.group_has("Moving", "ann.moves", "bob.moves", "cleo.moves")
    here.tenant.remove_members(team, [ann])
    await here.group_has("Moving", "bob.moves", "cleo.moves")
    bobs = [row for row in here.instance.table("sys_user_grmember") if row["user"] == await here.becomes("bob.moves")]
    assert {row["sys_id"] for row in bobs} <= before, "a membership that did not change was written again"


async def member_who_comes_late(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("ann.late", accountEnabled=False)
    team = here.tenant.create_group("Waiting", members=[ann])
    yield
    await here.ends(team, "skipped", "WaitsForMembers")
    assert here.members("Waiting") == []
    here.tenant.update(ann, {"accountEnabled": True})
    await here.group_has("Waiting", "ann.late")


async def members_that_are_no_people(here: Company) -> AsyncGenerator[None]:
    ann, bob = here.hire("ann.outer"), here.hire("bob.inner")
    inner = here.tenant.create_group("Inner", members=[bob])
    device = here.tenant.create(Kind.DEVICE, {"displayName": "LAPTOP-1"}).id
    robot = here.tenant.create(
        Kind.SERVICE_PRINCIPAL, {"displayName": "Robot", "appId": "cccccccc-0000-4000-8000-0000000000b0"}
    ).id
    outer = here.tenant.create_group("Outer", members=[ann, inner, device])
    yield
    await here.group_has("Outer", "ann.outer")
    await here.group_has("Inner", "bob.inner")
    here.tenant.remove_members(outer, [ann])
    here.tenant.add_members(outer, [robot, bob])
    await here.group_has("Outer", "bob.inner")
    yield
    assert here.members("Outer") == ["bob.inner"]


async def membership_doubled(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("ann.hand")
    team = here.tenant.create_group("Doubled")
    yield
    pair = {"user": await here.becomes("ann.hand"), "group": await here.group_becomes("Doubled")}
    made = {here.insert("sys_user_grmember", **pair) for _ in range(3)}
    here.tenant.add_members(team, [ann])
    await here.group_has("Doubled", "ann.hand")
    assert {row["sys_id"] for row in here.instance.table("sys_user_grmember") if row["group"] == pair["group"]} < made
