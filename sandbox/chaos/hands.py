"""The hands that carry out a history's deeds, in the tenant and in ServiceNow, and remember what may follow from them.

A deed chooses its subject from the tenant alone. So the same steps do the same in a run without disturbance, where the app may
have come further at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sandbox.agreement import home_name
from sandbox.instance.access import SYSTEM
from sandbox.people import DEPARTMENTS
from sandbox.tenant import Kind, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sandbox.chaos.history import Step
    from sandbox.instance import Instance
    from sandbox.tenant import Tenant
    from sandbox.tenant.objects import DirectoryObject

_CITIES: Final = ("Bergen", "Kraków", "Nantes", "São Paulo", "Zürich")
_TITLES: Final = ("Adviser", "Engineer", "Lead, Operations", "O'Neill Fellow", "Vice President")
_CLEARABLE: Final = ("jobTitle", "city", "mobilePhone", "department", "employeeId")


@dataclass(slots=True)
class Memory:
    """What the checker must know of the way, beside how things are in the end. All are object ids unless said otherwise."""

    enabled: set[str] = field(default_factory=set)  # were at some time to be provisioned
    disabled: set[str] = field(default_factory=set)  # were at some time to be inactive
    recycled: set[str] = field(default_factory=set)  # were at some time deleted
    purged: set[str] = field(default_factory=set)
    dissolved: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)  # have been inactive since before they had a record
    parted: set[tuple[str, str]] = field(default_factory=set)  # (group id, user id) that were once not to be members
    edited: set[tuple[str, str]] = field(default_factory=set)  # (sys_id, column) that somebody edited in ServiceNow
    unlinked: set[tuple[str, str]] = field(default_factory=set)  # (group sys_id, user sys_id) removed by hand
    unlinked_users: set[str] = field(default_factory=set)  # of whom a membership was removed by hand
    names: dict[str, set[str]] = field(default_factory=dict)  # object id -> all names of his record, in lower case
    titles: dict[str, set[str]] = field(default_factory=dict)  # object id -> all names of a group

    def all_titles(self, object_ids: Collection[str]) -> frozenset[str]:
        """Every name that these groups have had."""
        return frozenset(title for object_id in object_ids for title in self.titles.get(object_id, ()))

    def all_names(self, object_ids: Collection[str]) -> frozenset[str]:
        """Every user name that these people have had, in lower case."""
        return frozenset(name for object_id in object_ids for name in self.names.get(object_id, ()))


class Hands:
    """``do`` carries out one step and says what happened; empty if it could happen to nobody."""

    def __init__(self, tenant: Tenant, instance: Instance, *, assigned: bool) -> None:
        self._tenant = tenant
        self._instance = instance
        self._assigned = assigned
        self._serial = 0
        self.memory = Memory()
        self._deeds: dict[str, Callable[[int, int], str]] = {
            "hire": self._hire,
            "rename": self._rename,
            "move": self._move,
            "clear": self._clear,
            "disable": self._disable,
            "enable": self._enable,
            "delete": self._delete,
            "restore": self._restore,
            "purge": self._purge,
            "rehire": self._rehire,
            "join": self._join,
            "leave": self._leave,
            "manage": self._manage,
            "unmanage": self._unmanage,
            "found": self._found,
            "retitle": self._retitle,
            "dissolve": self._dissolve,
            "assign": self._assign,
            "unassign": self._unassign,
            "local user": self._local_user,
            "local member": self._local_member,
            "local edit": self._local_edit,
            "local removal": self._local_removal,
            "local deletion": self._local_deletion,
            "department": self._department,
        }
        if assigned:
            for group in self._groups():
                tenant.assignments.assign(group.id)
            for number, user in enumerate(self._users()):
                if number % 3:
                    tenant.assignments.assign(user.id)
        self._look()

    def do(self, step: Step) -> str:
        """Carry out a deed."""
        said = self._deeds[step.name](step.a, step.b)
        self._look()
        return said

    @property
    def in_scope(self) -> frozenset[str] | None:
        """Who is assigned, directly or through a group; None if everybody is."""
        if not self._assigned:
            return None
        principal = self._tenant.config.service_principal_id
        direct = {made["principalId"] for made in self._tenant.assignments.to_resource(principal)}
        through = {member for group in self._groups() if group.id in direct for member in group.members}
        return frozenset(direct | through)

    # People

    def _hire(self, a: int, b: int) -> str:
        self._serial += 1
        return self._new_person(f"new.hire{self._serial}@contoso.com", a, b)

    def _new_person(self, name: str, a: int, b: int) -> str:
        properties = {
            "userPrincipalName": name,
            "displayName": name.partition("@")[0],
            "givenName": "Nova",
            "surname": f"Håkansson {a % 97}",
            "mail": name,
            "jobTitle": _TITLES[a % len(_TITLES)],
            "city": _CITIES[b % len(_CITIES)],
            "department": DEPARTMENTS[b % len(DEPARTMENTS)],
        }
        object_id = self._tenant.create_user(**properties)
        if self._assigned and a % 4:
            self._tenant.assignments.assign(object_id)
        return f"hired {name}"

    def _rename(self, a: int, _: int) -> str:
        user = _pick([one for one in self._in_scope_users() if not self._shares_name(one)], a)
        if user is None:
            return ""
        self._serial += 1
        before, name = user.properties["userPrincipalName"], f"renamed{self._serial}@contoso.com"
        self._tenant.update(user.id, {"userPrincipalName": name, "mail": name, "surname": f"Married {self._serial}"})
        return f"renamed {before} to {name}"

    def _move(self, a: int, b: int) -> str:
        user = _pick(self._users(), a)
        if user is None:
            return ""
        change = {
            "jobTitle": _TITLES[b % len(_TITLES)],
            "department": (*DEPARTMENTS, "Astronomy")[b % (len(DEPARTMENTS) + 1)],
            "city": _CITIES[(a + b) % len(_CITIES)],
        }
        self._tenant.update(user.id, change)
        return f"moved {_name(user)} to {change['department']}, {change['city']}"

    def _clear(self, a: int, b: int) -> str:
        user = _pick(self._users(), a)
        column = _CLEARABLE[b % len(_CLEARABLE)]
        if user is None or not user.properties.get(column):
            return ""
        self._tenant.update(user.id, {column: None})
        return f"cleared {column} of {_name(user)}"

    def _disable(self, a: int, _: int) -> str:
        user = _pick([one for one in self._users() if one.properties["accountEnabled"]], a)
        if user is None:
            return ""
        self._tenant.update(user.id, {"accountEnabled": False})
        return f"disabled {_name(user)}"

    def _enable(self, a: int, _: int) -> str:
        user = _pick([one for one in self._users() if not one.properties["accountEnabled"]], a)
        if user is None:
            return ""
        self._tenant.update(user.id, {"accountEnabled": True})
        return f"enabled {_name(user)}"

    def _delete(self, a: int, _: int) -> str:
        user = _pick(self._users(), a)
        if user is None:
            return ""
        self._tenant.delete(user.id)
        return f"deleted {_name(user)}"

    def _restore(self, a: int, _: int) -> str:
        user = _pick([one for one in self._users(State.DELETED) if not self._shares_name(one)], a)
        if user is None:
            return ""
        self._tenant.restore(user.id)
        return f"restored {_name(user)}"

    def _purge(self, a: int, _: int) -> str:
        user = _pick([one for one in self._users(State.DELETED) if not self._shares_name(one)], a)
        if user is None:
            return ""
        self._tenant.purge(user.id)
        self.memory.purged.add(user.id)
        return f"purged {_name(user)}"

    def _rehire(self, a: int, b: int) -> str:
        user = _pick([one for one in self._users(State.DELETED) if not self._shares_name(one)], a)
        if user is None:
            return ""
        said = self._new_person(user.properties["userPrincipalName"], a, b)
        created = self._tenant.by_principal_name(user.properties["userPrincipalName"])
        if created is not None and self._assigned and created.id not in (self.in_scope or ()):
            self._tenant.assignments.assign(created.id)
        return f"{said} again"

    def _manage(self, a: int, b: int) -> str:
        user, manager = _pick(self._users(), a), _pick(self._users(), b)
        if user is None or manager is None or user is manager:
            return ""
        self._tenant.set_manager(user.id, manager.id)
        return f"{_name(manager)} manages {_name(user)}"

    def _unmanage(self, a: int, _: int) -> str:
        user = _pick([one for one in self._users() if one.manager_id], a)
        if user is None:
            return ""
        self._tenant.set_manager(user.id, None)
        return f"nobody manages {_name(user)}"

    # Groups

    def _join(self, a: int, b: int) -> str:
        group = _pick(self._groups(), a)
        user = None if group is None else _pick([one for one in self._users() if one.id not in group.members], b)
        if group is None or user is None:
            return ""
        self._tenant.add_members(group.id, [user.id])
        return f"{_name(user)} joined {_name(group)}"

    def _leave(self, a: int, b: int) -> str:
        group = _pick([one for one in self._groups() if one.members], a)
        user = None if group is None else _pick([one for one in self._users() if one.id in group.members], b)
        if group is None or user is None:
            return ""
        self._tenant.remove_members(group.id, [user.id])
        self.memory.parted.add((group.id, user.id))
        return f"{_name(user)} left {_name(group)}"

    def _found(self, a: int, b: int) -> str:
        self._serial += 1
        members = {user.id: None for user in (_pick(self._users(), a), _pick(self._users(), b)) if user is not None}
        group_id = self._tenant.create_group(f"New Group {self._serial}", members=members, description="Founded later")
        if self._assigned:
            self._tenant.assignments.assign(group_id)
        return f"founded New Group {self._serial}"

    def _retitle(self, a: int, _: int) -> str:
        group = _pick(self._groups(), a)
        if group is None:
            return ""
        self._serial += 1
        before, name = _name(group), f"Group, Renamed {self._serial}"
        self._tenant.update(group.id, {"displayName": name, "description": None if a % 2 else f"Was {before}"})
        return f"renamed {before} to {name}"

    def _dissolve(self, a: int, _: int) -> str:
        group = _pick(self._groups(), a)
        if group is None:
            return ""
        self.memory.parted |= {(group.id, member) for member in group.members}
        self._tenant.delete(group.id)
        self.memory.dissolved.add(group.id)
        return f"dissolved {_name(group)}"

    # Assignments

    def _assign(self, a: int, _: int) -> str:
        scope = self.in_scope
        user = None if scope is None else _pick([one for one in self._users() if one.id not in scope], a)
        if user is None:
            return ""
        self._tenant.assignments.assign(user.id)
        return f"assigned {_name(user)}"

    def _unassign(self, a: int, _: int) -> str:
        if not self._assigned:
            return ""
        principal = self._tenant.config.service_principal_id
        users = {one.id: one for one in self._users()}
        given = [made for made in self._tenant.assignments.to_resource(principal) if made["principalId"] in users]
        if not given:
            return ""
        chosen = given[a % len(given)]
        self._tenant.assignments.unassign(chosen["id"])
        return f"unassigned {_name(users[chosen['principalId']])}"

    # In ServiceNow

    def _local_user(self, _a: int, _b: int) -> str:
        self._serial += 1
        name = f"local.person{self._serial}"
        self._instance.insert("sys_user", {"user_name": name, "first_name": "Local", "last_name": name}, SYSTEM)
        return f"{name} was made in ServiceNow"

    def _local_member(self, a: int, _: int) -> str:
        self._serial += 1
        group = _pick(self._groups(), a)
        records = () if group is None else self._instance.table("sys_user_group").matches("name", _name(group))
        if not records:
            return ""
        name = f"local.member{self._serial}"
        row = self._instance.insert("sys_user", {"user_name": name, "first_name": "Local", "last_name": name}, SYSTEM)
        self._instance.insert("sys_user_grmember", {"user": row["sys_id"], "group": records[0]}, SYSTEM)
        return f"{name} was made in ServiceNow, and a member of {_name(group)}" if group else ""

    def _local_edit(self, a: int, _: int) -> str:
        user = _pick(self._users(), a)
        sys_id = None if user is None else self._record(user)
        if user is None or sys_id is None:
            return ""
        self._instance.update("sys_user", sys_id, {"city": "Handtown", "building": ""}, SYSTEM)
        self.memory.edited.add((sys_id, "city"))
        return f"somebody in ServiceNow moved {_name(user)} to Handtown"

    def _local_removal(self, a: int, b: int) -> str:
        user = _pick(self._users(), a)
        sys_id = None if user is None else self._record(user)
        rows = [] if sys_id is None else list(self._instance.table("sys_user_grmember").matches("user", sys_id))
        if not rows:
            return ""
        row = self._instance.table("sys_user_grmember").get(rows[b % len(rows)]) or {}
        self._instance.delete("sys_user_grmember", row["sys_id"], SYSTEM)
        if user is None:
            return ""
        self.memory.unlinked.add((row["group"], row["user"]))
        self.memory.unlinked_users.add(user.id)
        return f"somebody in ServiceNow took {_name(user)} out of a group"

    def _local_deletion(self, a: int, b: int) -> str:
        """A record is deleted in ServiceNow, with its memberships and its place as a manager; then its owner changes in Entra."""
        live = [one for one in self._in_scope_users() if one.properties["accountEnabled"] and not self._shares_name(one)]
        user = _pick(live, a)
        if user is None:
            return ""
        sys_id = self._record(user)
        if sys_id is not None:
            self._instance.delete("sys_user", sys_id, SYSTEM)
        self._serial += 1
        self._tenant.update(user.id, {"jobTitle": f"{_TITLES[b % len(_TITLES)]} {self._serial}"})
        return f"somebody in ServiceNow deleted {_name(user)}, who changes in Entra ID"

    def _department(self, _a: int, _b: int) -> str:
        if self._instance.table("cmn_department").matches("name", "Astronomy"):
            return ""
        self._instance.insert("cmn_department", {"name": "Astronomy"}, SYSTEM)
        return "the department Astronomy was made in ServiceNow"

    # Looking

    def _look(self) -> None:
        """Remember who is, at this moment, to be provisioned or not."""
        scope, memory = self.in_scope, self.memory
        for group in self._tenant.order[Kind.GROUP]:
            memory.titles.setdefault(group.id, set()).add(_name(group))
        for user in self._tenant.order[Kind.USER]:
            memory.names.setdefault(user.id, set()).add(_record_name(user).lower())
            live = user.state is State.LIVE and user.properties["accountEnabled"] is not False
            if live and (scope is None or user.id in scope):
                memory.enabled.add(user.id)
                memory.unseen.discard(user.id)
                continue
            memory.disabled.add(user.id)
            (memory.unseen.add if self._record(user) is None else memory.unseen.discard)(user.id)
            if user.state is not State.LIVE:
                memory.recycled.add(user.id)
                memory.parted |= {(group, user.id) for group in user.groups}

    def _record(self, user: DirectoryObject) -> str | None:
        found = self._instance.table("sys_user").matches("user_name", _record_name(user))
        return found[0] if found else None

    def _users(self, state: State = State.LIVE) -> list[DirectoryObject]:
        return [
            one
            for one in self._tenant.order[Kind.USER]
            if one.state is state and "#EXT#" not in str(one.properties["userPrincipalName"])
        ]

    def _in_scope_users(self) -> list[DirectoryObject]:
        scope = self.in_scope
        return [one for one in self._users() if scope is None or one.id in scope]

    def _groups(self) -> list[DirectoryObject]:
        return [one for one in self._tenant.order[Kind.GROUP] if one.state is State.LIVE]

    def _shares_name(self, user: DirectoryObject) -> bool:
        """Whether a name of his was anybody else's too: what happens then depends on what the app has seen before."""
        mine = self.memory.names.get(user.id, set())
        return any(mine & names for object_id, names in self.memory.names.items() if object_id != user.id)


def _pick(among: Sequence[DirectoryObject], number: int) -> DirectoryObject | None:
    return among[number % len(among)] if among else None


def _record_name(user: DirectoryObject) -> str:
    """What his record in ServiceNow is called: a guest's bears the name that he has at home."""
    return home_name(str(user.properties["userPrincipalName"]))


def _name(one: DirectoryObject) -> str:
    return str(one.properties.get("userPrincipalName") or one.properties.get("displayName"))
