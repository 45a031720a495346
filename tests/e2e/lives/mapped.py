"""Turns of life that a mapping can change, in a company whose mapping changes them (``mappings.altered``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.instance.access import SYSTEM
from tests.e2e.lives import mappings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.e2e.lives.company import Company


async def hired_disabled(here: Company) -> AsyncGenerator[None]:
    before = here.hire("prepared", accountEnabled=False)
    yield
    after = here.hire("prepared.too", accountEnabled=False)
    for person, name in ((before, "prepared"), (after, "prepared.too")):
        record = await here.becomes(name, active="false")
        here.tenant.update(person, {"accountEnabled": True})
        assert await here.becomes(name, active="true", locked_out="false") == record


async def out_of_scope_and_skipped(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("stays", jobTitle="Engineer")
    yield
    await here.becomes("stays", active="true", title="Engineer")
    here.tenant.update(ann, {"country": mappings.ABROAD, "jobTitle": "Agent"})
    await here.ends(ann, "skipped", "SkipOutOfScopeDeletions")
    yield
    await here.becomes("stays", active="true", title="Engineer")


async def dropped_by_an_input_filter(here: Company) -> AsyncGenerator[None]:
    ann, robot = here.hire("turns.robot", jobTitle="Engineer"), here.hire("svc-backup")
    yield
    await here.becomes("turns.robot", active="true")
    here.tenant.update(ann, {"userPrincipalName": "svc-ann@contoso.com", "jobTitle": "Robot"})
    await here.ends(ann, "skipped", "NotInInputFilter")
    await here.ends(robot, "skipped", "NotInInputFilter")
    yield
    await here.becomes("turns.robot", active="true", title="Engineer")
    assert here.record("svc-backup") is None


async def rehired_with_the_old_number(here: Company) -> AsyncGenerator[None]:
    old = here.hire("old.number", employeeId="E-1")
    yield
    record = await here.becomes("old.number", active="true")
    here.tenant.delete(old)
    await here.becomes("old.number", active="false")
    here.hire("new.number", employeeId="E-1")
    assert await here.becomes("new.number", active="true", locked_out="false") == record
    here.tenant.purge(old)
    yield
    assert await here.becomes("new.number", active="true") == record


async def record_removed(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("held", jobTitle="old")
    yield
    here.instance.delete("sys_user", await here.becomes("held", title="old"), SYSTEM)
    here.tenant.update(ann, {"jobTitle": "new"})
    await here.ends(ann, "failure", "InvalidAnchor")
    yield
    assert here.record("held") is None


async def record_cloned(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("cloned", employeeId="E-2")
    yield
    await here.becomes("cloned", employee_number="E-2")
    clone = here.insert("sys_user", user_name="the.clone@contoso.com", employee_number="E-2")
    here.tenant.update(ann, {"jobTitle": "Lead"})
    await here.becomes("cloned", title="Lead")
    await here.ends(here.hire("twin", employeeId="E-2"), "failure", "DuplicateTargetEntries")
    yield
    assert await here.becomes("the.clone", title="") == clone
    assert here.record("twin") is None


async def record_edited(here: Company) -> AsyncGenerator[None]:
    here.hire("mended", jobTitle="one", city="Lyon")
    yield
    record = await here.becomes("mended", title="one", city="Lyon")
    here.edit("sys_user", record, title="edited", city="Nice")
    await here.fire("verify")
    await here.becomes("mended", city="Lyon")
    yield
    await here.becomes("mended", title="edited", city="Lyon")


async def members_only_added(here: Company) -> AsyncGenerator[None]:
    ann, bob = here.hire("ann.stays"), here.hire("bob.comes")
    team = here.tenant.create_group("Growing", members=[ann])
    yield
    await here.group_has("Growing", "ann.stays")
    here.tenant.remove_members(team, [ann])
    here.tenant.add_members(team, [bob])
    await here.group_has("Growing", "ann.stays", "bob.comes")
    yield
    assert here.members("Growing") == ["ann.stays", "bob.comes"]
