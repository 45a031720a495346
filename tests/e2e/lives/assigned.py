"""Turns of life where only who is assigned to the enterprise application is in scope, and of those nobody who is abroad.

Graph announces no assignments: the cycle's timer sees them.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sandbox.tenant import Kind
from tests.e2e.lives import mappings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.e2e.lives.company import Company

_ITIL = str(uuid.uuid5(uuid.NAMESPACE_OID, "itil"))


async def disabled(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("former", jobTitle="Engineer")
    here.assign(here.tenant.create_group("Staff", members=[ann]))
    yield
    record = await here.becomes("former", active="true", title="Engineer")
    await here.group_has("Staff", "former")
    here.tenant.update(ann, {"accountEnabled": False})
    await here.becomes("former", active="false", locked_out="true", title="Former employee")
    await here.group_has("Staff")
    here.tenant.update(ann, {"accountEnabled": True})
    assert await here.becomes("former", active="true", locked_out="false", title="Engineer") == record
    await here.group_has("Staff", "former")


async def unassigned(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("leaves", jobTitle="Engineer")
    assignment = here.assign(ann)
    yield
    record = await here.becomes("leaves", active="true")
    here.tenant.assignments.unassign(assignment)
    await here.becomes("leaves", active="false", locked_out="true")
    here.tenant.update(ann, {"jobTitle": "Agent"})
    yield
    assert await here.becomes("leaves", active="false", title="Engineer") == record


async def unassigned_and_deleted(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("gone.twice")
    assignment = here.assign(ann)
    yield
    await here.becomes("gone.twice", active="true")
    here.tenant.assignments.unassign(assignment)
    await here.becomes("gone.twice", active="false")
    here.tenant.delete(ann)
    here.tenant.purge(ann)
    await here.vanishes("gone.twice")


async def reassigned(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("comes.back")
    here.assign(here.tenant.create_group("Colleagues", members=[ann]))
    colleagues = next(iter(here.tenant.objects[ann].groups))
    assignment = here.assign(ann)
    yield
    record = await here.becomes("comes.back", active="true")
    await here.group_has("Colleagues", "comes.back")
    here.tenant.remove_members(colleagues, [ann])
    here.tenant.assignments.unassign(assignment)
    await here.becomes("comes.back", active="false", locked_out="true")
    await here.group_has("Colleagues")
    here.assign(ann)
    here.tenant.add_members(colleagues, [ann])
    assert await here.becomes("comes.back", active="true", locked_out="false") == record
    await here.group_has("Colleagues", "comes.back")


async def assigned_through_a_group(here: Company) -> AsyncGenerator[None]:
    ann, bob, cleo = here.hire("member"), here.hire("deep.inside"), here.hire("comes.along")
    team = here.tenant.create_group("Assigned team", members=[ann])
    deepest = here.tenant.create_group("Deepest")
    middle = here.tenant.create_group("Middle", members=[deepest])
    here.assign(team)
    here.assign(here.tenant.create_group("Top", members=[middle]))
    yield
    await here.group_has("Assigned team", "member")
    await here.ends(bob, "skipped", "NotEffectivelyEntitled")
    assert here.record("deep.inside") is None
    here.tenant.add_members(deepest, [bob])
    here.tenant.remove_members(team, [ann])
    await here.becomes("member", active="false")
    await here.becomes("deep.inside", active="true")
    # A whole group joins.
    here.tenant.add_members(middle, [here.tenant.create_group("Newcomers", members=[cleo])])
    await here.becomes("comes.along", active="true")
    here.tenant.remove_members(deepest, [bob])
    await here.becomes("deep.inside", active="false")


async def out_of_a_filter(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("filtered", jobTitle="Engineer")
    here.assign(ann)
    yield
    record = await here.becomes("filtered", active="true", title="Engineer")
    here.tenant.update(ann, {"country": mappings.ABROAD, "jobTitle": "Agent"})
    await here.becomes("filtered", active="false", locked_out="true", title="Engineer")
    here.tenant.update(ann, {"country": "FR"})
    assert await here.becomes("filtered", active="true", locked_out="false", title="Agent") == record


async def member_group(here: Company) -> AsyncGenerator[None]:
    people = [here.hire(f"{name}.nested") for name in ("ann", "bob")]
    deepest = here.tenant.create_group("Nested deepest", members=people[:1])
    inner = here.tenant.create_group("Nested inner", members=[deepest, *people[1:]])
    outer = here.tenant.create_group("Nested outer")
    for each in (*people, deepest, inner, outer):
        here.assign(each)
    yield
    await here.group_becomes("Nested outer", active="true")
    await here.group_has("Nested deepest", "ann.nested")
    await here.group_has("Nested inner", "ann.nested", "bob.nested")
    here.tenant.add_members(outer, [inner])
    await here.group_has("Nested outer", "ann.nested", "bob.nested")
    here.tenant.remove_members(outer, [inner])
    await here.group_has("Nested outer")
    yield
    assert here.members("Nested inner") == ["ann.nested", "bob.nested"]


async def change_deep_down(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("ann.deep")
    deep, other = here.tenant.create_group("Deep down"), here.tenant.create_group("Other way in")
    around = here.tenant.create_group("Around", members=[deep, other])
    outside = here.tenant.create_group("Outside", members=[around])
    for each in (ann, deep, other, around, outside):
        here.assign(each)
    yield
    await here.group_becomes("Outside", active="true")
    here.tenant.add_members(deep, [ann])
    for name in ("Deep down", "Around", "Outside"):
        await here.group_has(name, "ann.deep")
    here.tenant.add_members(other, [ann])
    await here.group_has("Other way in", "ann.deep")
    (row,) = [row["sys_id"] for row in here.rows("sys_user_grmember", group=await here.group_becomes("Outside"))]
    here.tenant.remove_members(deep, [ann])
    await here.group_has("Deep down")
    await here.finds("sys_user_grmember", sys_id=row)
    here.tenant.remove_members(other, [ann])
    for name in ("Other way in", "Around", "Outside"):
        await here.group_has(name)


async def member_group_deleted(here: Company) -> AsyncGenerator[None]:
    ann, bob = here.hire("ann.taken.along"), here.hire("bob.left.behind")
    inner = here.tenant.create_group("Doomed", members=[ann])
    outer = here.tenant.create_group("Lasting", members=[inner, bob])
    for each in (ann, bob, inner, outer):
        here.assign(each)
    yield
    await here.group_has("Lasting", "ann.taken.along", "bob.left.behind")
    here.tenant.delete(inner)
    await here.group_has("Lasting", "bob.left.behind")


async def app_role(here: Company) -> AsyncGenerator[None]:
    application = here.tenant.objects[here.tenant.config.service_principal_id]
    assert application.kind is Kind.SERVICE_PRINCIPAL
    role = {"id": _ITIL, "value": "itil", "displayName": "ITIL", "isEnabled": True, "allowedMemberTypes": ["User"]}
    application.properties["appRoles"] = [*application.properties["appRoles"], role]
    ann = here.hire("has.role")
    here.assign(ann)
    yield
    record = await here.becomes("has.role", active="true")
    (itil,) = here.instance.table("sys_user_role").matches("name", "itil")
    assignment = here.assign(ann, _ITIL)
    await here.finds("sys_user_has_role", user=record, role=itil)
    here.tenant.assignments.unassign(assignment)
    await here.finds_none("sys_user_has_role", user=record)
    await here.becomes("has.role", active="true")
