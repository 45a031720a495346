"""The ways of a change that are cut at every step: what was before, and what happens then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.tenant import TenantConfig
from shared.events import ChainPoke, ObjectsChanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from shared.events import Event, Kind
    from shared.provisioning.services import Services
    from tests.crash.life import Scene


#: Only who is assigned to the enterprise application is provisioned, directly or through a group.
ASSIGNED = {"PROVISIONING_SCOPE": "assigned", "ENTRA_SERVICE_PRINCIPAL_ID": TenantConfig().service_principal_id}

type Command = Callable[[Services], Awaitable[object]]
type Change = Callable[[Scene], list[Event]]
"""Changes a tenant, and says what the app hears of it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Something that the timer or an operator asks of the app before the change."""

    command: Command


@dataclass(frozen=True, slots=True)
class Path:
    """``before``: what has happened and is provisioned. ``then``: the change on whose way the app is cut.

    ``meanwhile`` changes the tenant while the app is dead: the truth has moved on before anybody looks again. ``command``
    is what the timer or an operator asks of the life that is cut, and again of the next one. ``settings`` are the app's.
    """

    name: str
    before: tuple[Change | Ask, ...]
    then: Change
    meanwhile: Change | None = None
    command: Command | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def _people(scene: Scene) -> list[Event]:
    boss = hire(scene, "boss", jobTitle="Director")
    ann = hire(scene, "ann", jobTitle="Engineer", city="Lyon", department="Finance", mobilePhone="+33 6 12345678")
    bob = hire(scene, "bob")
    scene.tenant.set_manager(ann, boss)
    team = scene.tenant.create_group(scene.name("Team"), description="All of us", members=[ann])
    scene.ids.update(boss=boss, ann=ann, bob=bob, team=team)
    return [*changed(scene, "boss", "ann", "bob"), *groups_moved()]


def hire(scene: Scene, name: str, **properties: object) -> str:
    """A person called ``name``."""
    upn = f"{scene.name(name)}@contoso.com"
    values = {"userPrincipalName": upn, "displayName": name, "givenName": name, "surname": "Sample", "mail": upn, **properties}
    scene.ids[name] = scene.tenant.create_user(**values)
    return scene.ids[name]


def changed(scene: Scene, *names: str, kind: Kind = "user", gone: bool = False) -> list[Event]:
    """What a notification about these objects becomes."""
    ids = tuple(scene.ids[name] for name in names)
    return [ObjectsChanged(kind=kind, ids=ids, reason="notification", occurred_at=scene.clock(), gone=gone)]


def groups_moved() -> list[Event]:
    """What a notification about groups becomes."""
    return [ChainPoke(chain="groups")]


def _create(scene: Scene) -> list[Event]:
    hire(scene, "eve", department="Finance", jobTitle="Analyst")
    scene.tenant.set_manager(scene.ids["eve"], scene.ids["boss"])
    return changed(scene, "eve")


def _update(scene: Scene) -> list[Event]:
    change = {"userPrincipalName": f"{scene.name('ann.two')}@contoso.com", "jobTitle": "Lead", "city": None}
    scene.tenant.update(scene.ids["ann"], change)
    return changed(scene, "ann")


def _vanish(scene: Scene) -> list[Event]:
    """Two records are deleted by hand in ServiceNow, one of a member, one of her manager; then both people change in Entra."""
    for name in ("boss", "ann"):
        scene.remove(f"{scene.name(name)}@contoso.com")
        scene.tenant.update(scene.ids[name], {"city": "Lille"})
    return changed(scene, "boss", "ann")


def _chief(scene: Scene) -> list[Event]:
    hire(scene, "chief", accountEnabled=False)
    return _people(scene)


def _begin_to_wait(scene: Scene) -> list[Event]:
    """Ann changes and gets a manager who is not provisioned yet; he comes while the app is dead."""
    scene.tenant.update(scene.ids["ann"], {"jobTitle": "Lead"})
    scene.tenant.set_manager(scene.ids["ann"], scene.ids["chief"])
    return changed(scene, "ann")


def _manager_appears(scene: Scene) -> list[Event]:
    scene.tenant.update(scene.ids["chief"], {"accountEnabled": True})
    return changed(scene, "chief")


def _disable(scene: Scene, name: str = "ann") -> list[Event]:
    scene.tenant.update(scene.ids[name], {"accountEnabled": False})
    return changed(scene, name)


def _enable(scene: Scene) -> list[Event]:
    scene.tenant.update(scene.ids["ann"], {"accountEnabled": True})
    return changed(scene, "ann")


def _recycle(scene: Scene, name: str = "ann") -> list[Event]:
    scene.tenant.delete(scene.ids[name])
    return changed(scene, name)


def _purge(scene: Scene, name: str = "ann") -> list[Event]:
    scene.tenant.delete(scene.ids[name])
    scene.tenant.purge(scene.ids[name])
    return changed(scene, name, gone=True)


def _restore(scene: Scene) -> list[Event]:
    scene.tenant.restore(scene.ids["ann"])
    return changed(scene, "ann")


def _rehire(scene: Scene) -> list[Event]:
    former = scene.ids["ann"]
    hire(scene, "ann", jobTitle="Adviser", city="Lille", department="Finance")
    scene.tenant.set_manager(scene.ids["ann"], scene.ids["bob"])
    assert scene.ids["ann"] != former
    return changed(scene, "ann")


def _join(scene: Scene) -> list[Event]:
    scene.tenant.add_members(scene.ids["team"], [scene.ids["bob"]])
    return groups_moved()


def _leave(scene: Scene) -> list[Event]:
    scene.tenant.remove_members(scene.ids["team"], [scene.ids["ann"]])
    return groups_moved()


def _found(scene: Scene) -> list[Event]:
    scene.ids["crew"] = scene.tenant.create_group(scene.name("Crew"), members=[scene.ids["ann"], scene.ids["bob"]])
    return groups_moved()


def _dissolve(scene: Scene, name: str = "team") -> list[Event]:
    scene.tenant.delete(scene.ids[name])
    return changed(scene, name, kind="group", gone=True)


def _rejoin(scene: Scene) -> list[Event]:
    scene.tenant.add_members(scene.ids["team"], [scene.ids["ann"]])
    return groups_moved()


def _unjoin(scene: Scene) -> list[Event]:
    scene.tenant.remove_members(scene.ids["team"], [scene.ids["bob"]])
    return groups_moved()


def _waits_for_manager(scene: Scene) -> list[Event]:
    """Ann waits for her manager, the team for a member."""
    events = _people(scene)
    hire(scene, "chief", accountEnabled=False)
    scene.tenant.set_manager(scene.ids["ann"], scene.ids["chief"])
    scene.tenant.add_members(scene.ids["team"], [scene.ids["chief"]])
    return [*events, *changed(scene, "chief")]


def _waits_for_department(scene: Scene) -> list[Event]:
    """Bob waits for his department."""
    events = _people(scene)
    scene.tenant.update(scene.ids["bob"], {"department": scene.name("Astronomy")})
    return events


def _department_appears(scene: Scene) -> list[Event]:
    scene.insert("cmn_department", name=scene.name("Astronomy"))
    return []


def _much(scene: Scene) -> list[Event]:
    """Two pages with a rename, a hire, a joiner and a leaver; nobody but the chains hears of it."""
    _update(scene)
    eve = hire(scene, "eve")
    scene.tenant.add_members(scene.ids["team"], [eve])
    scene.tenant.remove_members(scene.ids["team"], [scene.ids["ann"]])
    return [ChainPoke(chain="users"), ChainPoke(chain="groups")]


def _everything(scene: Scene) -> list[Event]:
    """A full round of both chains: what a first cycle is."""
    _much(scene)
    return [ChainPoke(chain="users", full=True), ChainPoke(chain="groups", full=True)]


def _nothing(_: Scene) -> list[Event]:
    return []


async def tick(services: Services) -> None:
    await services.operations.tick()


async def _approve(services: Services) -> None:
    await services.staging.decide_all(approved=True)


async def _pause(services: Services) -> None:
    await services.operations.pause()


async def _start(services: Services) -> None:
    await services.operations.start()


async def _restart(services: Services) -> None:
    await services.operations.restart("")


async def _restart_after_a_clone(services: Services) -> None:
    await services.operations.restart("ConnectorDataStore")


def _clone(scene: Scene) -> list[Event]:
    """The instance is replaced by an older copy of itself, and nothing in Entra tells of that."""
    _vanish(scene)
    scene.overwrite(f"{scene.name('bob')}@contoso.com", first_name="Somebody else", active="false", locked_out="true")
    return []


def _rename(scene: Scene) -> list[Event]:
    scene.tenant.update(scene.ids["team"], {"displayName": scene.name("Squad"), "description": None})
    return groups_moved()


def _assign(scene: Scene) -> list[Event]:
    """Three people are assigned by themselves, and so is the team; Bob is not."""
    hire(scene, "cid")
    events = [*_people(scene), *changed(scene, "cid")]
    for name in ("boss", "ann", "cid", "team"):
        scene.tenant.assignments.assign(scene.ids[name])
    return events


def _assign_bob(scene: Scene) -> list[Event]:
    scene.tenant.add_members(scene.ids["team"], [scene.ids["bob"]])
    return []


def _unassign(scene: Scene) -> list[Event]:
    """Ann stays a member of the team, and is assigned through it; the other one is nobody any more."""
    for name in ("ann", "cid"):
        (assignment,) = scene.tenant.assignments.of_principal(scene.ids[name])
        scene.tenant.assignments.unassign(assignment["id"])
    return []


PATHS: tuple[Path, ...] = (
    Path("create", (_people,), _create),
    Path("update", (_people,), _update),
    Path("update that waits", (_chief,), _begin_to_wait, _manager_appears),
    Path("records gone", (_people,), _vanish),
    Path("disable", (_people,), _disable),
    Path("held disable, approved", (_people, _disable), _nothing, command=_approve, settings={"DELETE_THRESHOLD": "0"}),
    Path("enable", (_people, _disable), _enable),
    Path("soft delete", (_people,), _recycle),
    Path("restore", (_people, _recycle), _restore),
    Path("delete", (_people,), _purge),
    Path("rehire", (_people, _recycle), _rehire),
    Path("membership add", (_people,), _join),
    Path("membership remove", (_people,), _leave),
    Path("group create", (_people,), _found),
    Path("group delete", (_people,), _dissolve),
    Path("escrow release by a manager", (_waits_for_manager,), _manager_appears),
    Path("escrow release by a department", (_waits_for_department,), _department_appears, command=tick),
    Path("held removal, approved", (_people, _leave), _nothing, command=_approve, settings={"DELETE_THRESHOLD": "0"}),
    Path("group rename", (_people,), _rename),
    Path("assign", (_assign, Ask(tick)), _assign_bob, command=tick, settings=ASSIGNED),
    Path("unassign", (_assign, Ask(tick)), _unassign, command=tick, settings=ASSIGNED),
    Path("start after a pause", (_people, Ask(_pause), _update, _join), _leave, command=_start),
    Path("restart", (_people,), _much, command=_restart),
    Path("restart after a clone", (_people,), _clone, command=_restart_after_a_clone),
    Path("cycle page", (_people,), _much),
    Path("full cycle", (_people,), _everything),
    Path("create, disabled meanwhile", (_people,), _create, lambda scene: _disable(scene, "eve")),
    Path("create, deleted meanwhile", (_people,), _create, lambda scene: _recycle(scene, "eve")),
    Path("create, gone meanwhile", (_people,), _create, lambda scene: _purge(scene, "eve")),
    Path("update, disabled meanwhile", (_people,), _update, _disable),
    Path("disable, enabled meanwhile", (_people,), _disable, _enable),
    Path("enable, disabled meanwhile", (_people, _disable), _enable, _disable),
    Path("soft delete, restored meanwhile", (_people,), _recycle, _restore),
    Path("group create, deleted meanwhile", (_people,), _found, lambda scene: _dissolve(scene, "crew")),
    Path("membership add, left meanwhile", (_people,), _join, _unjoin),
    Path("membership remove, joined meanwhile", (_people,), _leave, _rejoin),
    Path("membership add, group deleted meanwhile", (_people,), _join, _dissolve),
    Path("membership add, member deleted meanwhile", (_people,), _join, lambda scene: _recycle(scene, "bob")),
)
