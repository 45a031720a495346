"""Assigned scope and scoping filters: out, back in, and never out on half an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sandbox.tenant import TenantConfig
from shared.errors import ProvisioningError
from tests.support.people import hire as _hire, memberships, record_of
from tests.support.schemas import variant
from tests.support.world import World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(storage: str) -> AsyncIterator[World]:
    """Only who is assigned is in scope, and of those nobody of the department "Secret"."""
    mappings = variant(scope=[("department", "NOT EQUALS", "Secret")])
    principal = TenantConfig().service_principal_id
    async with world(storage, mappings=mappings, PROVISIONING_SCOPE="assigned", ENTRA_SERVICE_PRINCIPAL_ID=principal) as made:
        await _cycle(made)
        yield made


def hire(here: World, name: str, **properties: object) -> str:
    """Somebody with a department, because the filter is about it."""
    return _hire(here, name, **{"department": "Open", **properties})


async def _cycle(here: World) -> None:
    """A tick, the assignments read again, and what follows."""
    await here.services.assigned.refresh()
    await here.cycle()


def _assign(here: World, principal_id: str) -> str:
    return str(here.tenant.tenant.assignments.assign(principal_id)["id"])


async def test_who_is_not_assigned_is_skipped_and_comes_with_the_assignment(here: World) -> None:
    ann = hire(here, "unassigned")
    await _cycle(here)
    assert here.user("unassigned@contoso.com") is None
    assert await here.ended(ann) == ("skipped", "NotEffectivelyEntitled")
    _assign(here, ann)
    await _cycle(here)
    assert record_of(here, "unassigned")["active"] == "true"


async def test_unassign_disables_and_reassign_enables_the_same_record_with_its_memberships(here: World) -> None:
    ann = hire(here, "leaves")
    team = here.tenant.tenant.create_group("Leavers", members=[ann])
    _assign(here, team)
    assignment = _assign(here, ann)
    await _cycle(here)
    sys_id = record_of(here, "leaves")["sys_id"]
    here.tenant.tenant.remove_members(team, [ann])
    here.tenant.tenant.assignments.unassign(assignment)
    await _cycle(here)
    row = record_of(here, "leaves")
    assert (row["sys_id"], row["active"], row["locked_out"]) == (sys_id, "false", "true")

    _assign(here, ann)
    await _cycle(here)
    row = record_of(here, "leaves")
    assert (row["sys_id"], row["active"], row["locked_out"]) == (sys_id, "true", "false")


async def test_who_is_assigned_through_a_group_comes_and_goes_with_the_membership(here: World) -> None:
    ann = hire(here, "member")
    team = here.tenant.tenant.create_group("Assigned team", members=[ann])
    _assign(here, team)
    await _cycle(here)
    assert record_of(here, "member")["active"] == "true"
    assert memberships(here, "Assigned team") == ["member@contoso.com"]
    here.tenant.tenant.remove_members(team, [ann])
    await _cycle(here)
    assert record_of(here, "member")["active"] == "false"


async def test_unassigned_and_then_deleted_is_deleted_for_good(here: World) -> None:
    ann = hire(here, "gone.twice")
    assignment = _assign(here, ann)
    await _cycle(here)
    here.tenant.tenant.assignments.unassign(assignment)
    await _cycle(here)
    here.tenant.tenant.delete(ann)
    await _cycle(here)
    assert record_of(here, "gone.twice")["active"] == "false"
    here.tenant.tenant.purge(ann)
    await _cycle(here)
    assert here.user("gone.twice@contoso.com") is None


async def test_out_of_a_filter_disables_and_back_into_it_enables(here: World) -> None:
    ann = hire(here, "filtered", department="Open", jobTitle="Engineer")
    _assign(here, ann)
    await _cycle(here)
    here.tenant.tenant.update(ann, {"department": "Secret", "jobTitle": "Agent"})
    await _cycle(here)
    row = record_of(here, "filtered")
    assert (row["active"], row["title"]) == ("false", "Engineer")
    here.tenant.tenant.update(ann, {"department": "Open"})
    await _cycle(here)
    row = record_of(here, "filtered")
    assert (row["active"], row["locked_out"], row["title"]) == ("true", "false", "Agent")


async def test_somebody_new_whom_a_filter_leaves_out_is_skipped_with_the_reason(here: World) -> None:
    ann = hire(here, "never", department="Secret")
    _assign(here, ann)
    await _cycle(here)
    assert here.user("never@contoso.com") is None
    assert await here.ended(ann) == ("skipped", "NotEffectivelyEntitled")
    steps = (await here.log_of(ann))[0]["provisioningSteps"]
    assert "filter" in steps[-1]["description"]


async def test_an_incomplete_read_of_the_assignments_takes_nobody_out(here: World) -> None:
    ann, bob = hire(here, "stays"), hire(here, "stays.too")
    _assign(here, ann)
    _assign(here, here.tenant.tenant.create_group("Unreadable", members=[bob]))
    await _cycle(here)
    assert record_of(here, "stays.too")["active"] == "true"
    start = here.instance.instance.commits.last
    refused = 0
    for failing in range(1, 5):
        # Each time so many requests of the reading fail.
        here.tenant.tenant.faults = replace(here.tenant.tenant.faults, fail_next=(500,) * failing)
        try:
            await here.services.assigned.refresh()
        except ProvisioningError:
            refused += 1
        finally:
            here.tenant.tenant.faults = replace(here.tenant.tenant.faults, fail_next=())
        await here.pump()
    assert here.instance.instance.commits.last == start
    assert record_of(here, "stays")["active"] == "true"
    assert record_of(here, "stays.too")["active"] == "true"
    assert refused, "none of the readings was incomplete"
