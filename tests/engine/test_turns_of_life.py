"""Turns of a person's and a group's life that no other test tells; ``docs/life.md`` names the test of every row."""

from __future__ import annotations

from sandbox.instance.access import SYSTEM
from sandbox.tenant import TenantConfig
from tests.support.mapped import Mapping, column, fields, options, remapped
from tests.support.people import hire, memberships, record_of
from tests.support.world import World, world

PRINCIPAL = TenantConfig().service_principal_id


def _by_employee_number(mapping: Mapping) -> None:
    """Match by the employee number first, then by the user name."""
    column("employee_number", "[employeeId]", matchingPriority=1)(mapping)
    fields("user_name", matchingPriority=2)(mapping)


def _input_filter(mapping: Mapping) -> None:
    """Leave service accounts alone."""
    clause = {
        "sourceOperandName": "userPrincipalName",
        "operatorName": "NOT REGEX MATCH",
        "targetOperand": {"values": ["^svc-"]},
    }
    mapping["scope"] = {"groups": [], "inputFilterGroups": [{"name": "No service accounts", "clauses": [clause]}]}


async def test_a_hire_who_is_disabled_is_created_beforehand_where_the_mapping_says_so(storage: str) -> None:
    async with world(storage, mappings=remapped(options(HireDisabled="create"))) as here:
        ann = hire(here, "ann", accountEnabled=False)
        await here.cycle()
        first = record_of(here, "ann")
        assert first["active"] == "false"
        here.tenant.tenant.update(ann, {"accountEnabled": True})
        await here.cycle()
        row = record_of(here, "ann")
        assert (row["sys_id"], row["active"], row["locked_out"]) == (first["sys_id"], "true", "false")


async def test_a_rehire_with_the_old_employee_number_takes_the_record_over_and_the_purge_touches_nobody(storage: str) -> None:
    async with world(storage, mappings=remapped(_by_employee_number)) as here:
        old = hire(here, "ann", employeeId="E-1")
        await here.cycle()
        record = record_of(here, "ann")["sys_id"]
        here.tenant.tenant.delete(old)
        await here.cycle()
        assert record_of(here, "ann")["active"] == "false"
        new = hire(here, "ann.new", employeeId="E-1")
        await here.cycle()
        row = record_of(here, "ann.new")
        assert (row["sys_id"], row["active"]) == (record, "true")
        here.tenant.tenant.purge(old)
        await here.cycle()
        assert record_of(here, "ann.new")["active"] == "true"
        assert (await here.services.joins.get("user", new)).sys_id == record


async def test_a_record_cloned_in_servicenow_does_not_confuse_who_is_linked_and_stops_who_is_not(storage: str) -> None:
    async with world(storage, mappings=remapped(_by_employee_number)) as here:
        ann = hire(here, "ann", employeeId="E-1")
        await here.cycle()
        clone = here.insert("sys_user", user_name="ann.clone", employee_number="E-1")
        here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
        await here.cycle()
        assert record_of(here, "ann")["title"] == "Lead"
        assert here.rows("sys_user")[clone]["title"] == ""
        twin = hire(here, "twin", employeeId="E-1")
        await here.cycle()
        assert await here.ended(twin) == ("failure", "DuplicateTargetEntries")


async def test_who_goes_out_of_scope_stays_as_he_is_with_skip_out_of_scope_deletions(storage: str) -> None:
    mappings = remapped(options(SkipOutOfScopeDeletions="true"))
    async with world(storage, mappings=mappings, ENTRA_SERVICE_PRINCIPAL_ID=PRINCIPAL) as here:
        ann = hire(here, "ann")
        assignment = str(here.tenant.tenant.assignments.assign(ann)["id"])
        await _reassigned(here)
        here.tenant.tenant.assignments.unassign(assignment)
        await _reassigned(here)
        assert record_of(here, "ann")["active"] == "true"


async def test_who_fails_an_input_filter_is_left_alone_and_not_deprovisioned(storage: str) -> None:
    async with world(storage, mappings=remapped(_input_filter)) as here:
        hire(here, "svc-backup")
        ann = hire(here, "ann")
        await here.cycle()
        assert here.user("svc-backup@contoso.com") is None
        here.tenant.tenant.update(ann, {"userPrincipalName": "svc-ann@contoso.com"})
        await here.cycle()
        assert record_of(here, "ann")["active"] == "true"


async def test_a_record_removed_in_servicenow_is_held_where_the_mapping_says_so(storage: str) -> None:
    async with world(storage, mappings=remapped(options(RecreateMissing="hold"))) as here:
        ann = hire(here, "ann")
        await here.cycle()
        here.instance.instance.delete("sys_user", record_of(here, "ann")["sys_id"], SYSTEM)
        here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
        await here.cycle()
        assert here.user("ann@contoso.com") is None
        assert await here.ended(ann) == ("failure", "InvalidAnchor")


async def test_a_group_that_turns_dynamic_keeps_its_record_and_its_members(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        team = here.tenant.tenant.create_group("Team", members=[ann])
        await here.cycle()
        (before,) = here.rows("sys_user_group")
        rule = {
            "groupTypes": ["DynamicMembership"],
            "membershipRule": "user.city -eq null",
            "membershipRuleProcessingState": "On",
        }
        here.tenant.tenant.update(team, rule)
        await here.cycle()
        assert list(here.rows("sys_user_group")) == [before]
        assert memberships(here, "Team") == ["ann@contoso.com"]


async def test_who_joins_a_group_deep_inside_an_assigned_one_comes_where_nesting_is_expanded(storage: str) -> None:
    mappings = remapped(options(NestedGroups="expand"))
    async with world(storage, mappings=mappings, ENTRA_SERVICE_PRINCIPAL_ID=PRINCIPAL) as here:
        ann = hire(here, "ann")
        deepest = here.tenant.tenant.create_group("Deepest")
        middle = here.tenant.tenant.create_group("Middle", members=[deepest])
        top = here.tenant.tenant.create_group("Top", members=[middle])
        here.tenant.tenant.assignments.assign(top)
        await _reassigned(here)
        assert here.user("ann@contoso.com") is None
        here.tenant.tenant.add_members(deepest, [ann])
        await _reassigned(here)
        assert record_of(here, "ann")["active"] == "true"
        here.tenant.tenant.remove_members(deepest, [ann])
        await _reassigned(here)
        assert record_of(here, "ann")["active"] == "false"


async def _reassigned(here: World) -> None:
    """A tick, and what follows from the assignments that it read."""
    await here.cycle()
    await here.services.assigned.refresh()
    await here.later(15)
