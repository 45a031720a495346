"""App roles of the enterprise application become roles in ServiceNow, where the mapping says so."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sandbox.tenant import TenantConfig
from sandbox.tenant.objects import Kind
from tests.support.mapped import options, remapped
from tests.support.people import hire, record_of
from tests.support.world import World, world

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

PRINCIPAL = TenantConfig().service_principal_id
ITIL, BOSS = str(uuid.uuid5(uuid.NAMESPACE_OID, "itil")), str(uuid.uuid5(uuid.NAMESPACE_OID, "boss"))


def _world(storage: str, mode: str) -> AbstractAsyncContextManager[World]:
    return world(
        storage,
        mappings=remapped(options(AppRoles=mode)),
        ENTRA_SERVICE_PRINCIPAL_ID=PRINCIPAL,
        PROVISIONING_SCOPE="assigned",
    )


def _define_roles(here: World) -> None:
    """The application has the app roles itil and boss; only itil is a role of ServiceNow yet."""
    application = here.tenant.tenant.now().find(Kind.SERVICE_PRINCIPAL, PRINCIPAL)
    assert application is not None
    application.properties["appRoles"] = [
        {"id": role_id, "value": name, "displayName": name.title(), "isEnabled": True, "allowedMemberTypes": ["User"]}
        for role_id, name in ((ITIL, "itil"), (BOSS, "boss"))
    ]


def _assign(here: World, user: str, role_id: str) -> str:
    return str(here.tenant.tenant.assignments.assign(user, None, role_id)["id"])


def _grants(here: World, name: str) -> list[str]:
    roles = {sys_id: row["name"] for sys_id, row in here.rows("sys_user_role").items()}
    user = record_of(here, name)["sys_id"]
    return sorted(roles[row["role"]] for row in here.rows("sys_user_has_role").values() if row["user"] == user)


async def _cycle(here: World) -> None:
    await here.services.assigned.refresh()
    await here.cycle()
    await here.later(15)


async def test_roles_are_left_alone_unless_the_mapping_says_otherwise(storage: str) -> None:
    async with _world(storage, "off") as here:
        _define_roles(here)
        _assign(here, hire(here, "ann"), ITIL)
        await _cycle(here)
        assert _grants(here, "ann") == []


async def test_an_assigned_role_is_granted_once_and_stays_when_only_adding(storage: str) -> None:
    async with _world(storage, "add") as here:
        _define_roles(here)
        ann = hire(here, "ann")
        assignment = _assign(here, ann, ITIL)
        boss = _assign(here, ann, BOSS)
        here.insert("sys_user_role", name="boss")
        await _cycle(here)
        assert _grants(here, "ann") == ["boss", "itil"]
        (entry, *_) = await here.log_of(ann)
        assert {"displayName": "appRoleAssignments", "oldValue": None, "newValue": "itil"} in entry["modifiedProperties"]
        requests = here.requests()
        await _cycle(here)
        assert here.requests() == requests
        here.tenant.tenant.assignments.unassign(assignment)
        await _cycle(here)
        assert _grants(here, "ann") == ["boss", "itil"]
        del boss


async def test_an_authoritative_mapping_takes_direct_grants_away_and_leaves_inherited_ones(storage: str) -> None:
    async with _world(storage, "authoritative") as here:
        _define_roles(here)
        ann = hire(here, "ann")
        itil = _assign(here, ann, ITIL)
        _assign(here, ann, BOSS)
        here.insert("sys_user_role", name="boss")
        passed_on = here.insert("sys_user_role", name="passed_on")
        await _cycle(here)
        user = record_of(here, "ann")["sys_id"]
        here.insert("sys_user_has_role", user=user, role=passed_on, inherited="true")
        here.tenant.tenant.assignments.unassign(itil)
        await _cycle(here)
        assert _grants(here, "ann") == ["boss", "passed_on"]


async def test_a_role_that_servicenow_does_not_have_is_granted_when_it_appears(storage: str) -> None:
    async with _world(storage, "add") as here:
        _define_roles(here)
        ann = hire(here, "ann")
        _assign(here, ann, BOSS)
        await _cycle(here)
        assert _grants(here, "ann") == []
        assert (await here.ended(ann))[0] == "warning"
        here.insert("sys_user_role", name="boss")
        await _cycle(here)
        assert _grants(here, "ann") == ["boss"]
        assert (await here.services.escrows.counts()) == {}
