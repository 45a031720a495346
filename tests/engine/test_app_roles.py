"""App roles of the enterprise application become roles in ServiceNow, where the mapping says so."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.tenant import TenantConfig
from sandbox.tenant.objects import Kind
from tests.support.mapped import options, remapped
from tests.support.people import hire, record_of
from tests.support.world import World, world

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sandbox.tenant.objects import DirectoryObject

PRINCIPAL = TenantConfig().service_principal_id
DEFAULT_ACCESS = str(uuid.UUID(int=0))
ITIL, BOSS = str(uuid.uuid5(uuid.NAMESPACE_OID, "itil")), str(uuid.uuid5(uuid.NAMESPACE_OID, "boss"))


def _world(storage: str, mode: str, *, threshold: str = "500") -> AbstractAsyncContextManager[World]:
    return world(
        storage,
        mappings=remapped(options(AppRoles=mode)),
        ENTRA_SERVICE_PRINCIPAL_ID=PRINCIPAL,
        PROVISIONING_SCOPE="assigned",
        DELETE_THRESHOLD=threshold,
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


def _person(here: World, name: str) -> DirectoryObject:
    found = here.tenant.tenant.by_principal_name(f"{name}@contoso.com")
    assert found is not None
    return found


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


async def _with_itil(here: World, *names: str) -> list[str]:
    """People with the role itil beside their default access; returns the assignments of the role."""
    _define_roles(here)
    assignments = []
    for name in names:
        person = hire(here, name)
        _assign(here, person, DEFAULT_ACCESS)
        assignments.append(_assign(here, person, ITIL))
    await _cycle(here)
    assert all(_grants(here, name) == ["itil"] for name in names)
    return assignments


async def _lose(here: World, *assignments: str) -> None:
    for assignment in assignments:
        here.tenant.tenant.assignments.unassign(assignment)
    await _cycle(here)


async def _held(here: World) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = (await here.services.staging.page(top="", token=""))["value"]
    return rows


async def test_roles_above_the_threshold_are_held_and_everything_else_goes_on(storage: str) -> None:
    names = ["ann", "ben", "cas"]
    async with _world(storage, "authoritative", threshold="1") as here:
        assignments = await _with_itil(here, *names)
        here.tenant.tenant.update(_person(here, "cas").id, {"jobTitle": "Lead"})
        await _lose(here, *assignments)
        holders = [name for name in names if _grants(here, name) == ["itil"]]
        assert len(holders) == 2
        assert record_of(here, "cas")["title"] == "Lead"
        held = await _held(here)
        assert {row["id"] for row in held} == {f"roles:{_person(here, name).id}" for name in holders}
        assert all(row["action"] == "removeRoles" and row["displayName"] and row["reason"] for row in held)
        await here.services.operations.tick()
        assert (await here.services.operations.job())["status"]["quarantine"]["reason"] == "TooManyDeletes"

        # Looked at again they are still held, and nothing more is said.
        object_id = held[0]["id"].removeprefix("roles:")
        entries = len(await here.log_of(object_id))
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert [name for name in names if _grants(here, name) == ["itil"]] == holders
        assert len(await here.log_of(object_id)) == entries

        await here.services.staging.decide_all(approved=True)
        await here.pump()
        assert [_grants(here, name) for name in names] == [[], [], []]
        assert await _held(here) == []
        await here.services.operations.tick()
        assert (await here.services.operations.job())["status"]["quarantine"] is None


async def test_an_approval_of_roles_does_not_last(storage: str) -> None:
    async with _world(storage, "authoritative", threshold="0") as here:
        await _lose(here, *await _with_itil(here, "ann"))
        await here.services.staging.decide_all(approved=True)
        await here.pump()
        assert _grants(here, "ann") == []
        again = _assign(here, _person(here, "ann").id, ITIL)
        await _cycle(here)
        assert _grants(here, "ann") == ["itil"]
        await _lose(here, again)
        assert _grants(here, "ann") == ["itil"], "an old approval took a role away"


async def test_roles_that_are_assigned_again_are_held_no_more(storage: str) -> None:
    async with _world(storage, "authoritative", threshold="0") as here:
        await _lose(here, *await _with_itil(here, "ann"))
        assert len(await _held(here)) == 1
        _assign(here, _person(here, "ann").id, ITIL)
        await _cycle(here)
        assert _grants(here, "ann") == ["itil"]
        assert await _held(here) == []


async def test_a_rejected_removal_of_roles_is_left_alone_until_the_truth_changes(storage: str) -> None:
    async with _world(storage, "authoritative", threshold="0") as here:
        itil = await _with_itil(here, "ann")
        here.insert("sys_user_role", name="boss")
        boss = _assign(here, _person(here, "ann").id, BOSS)
        await _cycle(here)
        await _lose(here, *itil)
        (held,) = await _held(here)
        await here.services.staging.decide([held["id"]], approved=False)
        await here.pump()
        here.tenant.tenant.update(_person(here, "ann").id, {"jobTitle": "Lead"})
        await _cycle(here)
        assert record_of(here, "ann")["title"] == "Lead"
        assert _grants(here, "ann") == ["boss", "itil"]
        assert [row["status"] for row in await _held(here)] == ["rejected"]
        await _lose(here, boss)
        assert _grants(here, "ann") == ["boss", "itil"]
        assert [row["status"] for row in await _held(here)] == ["staged"]


async def test_a_role_whose_record_may_not_be_read_is_not_taken_away(storage: str) -> None:
    async with _world(storage, "authoritative") as here:
        itil = await _with_itil(here, "ann")
        rules = here.instance.instance.config.access_rules
        hidden = tuple(replace(rule, hidden_rows=(("sys_user_role", "sys_idISNOTEMPTY"),)) for rule in rules)
        here.instance.instance.configure(access_rules=hidden)
        await _lose(here, *itil)
        assert _grants(here, "ann") == ["itil"]
