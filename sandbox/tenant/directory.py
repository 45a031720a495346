"""The tenant: its objects, what may be done to them, and the log of everything that was done. No HTTP here."""

from __future__ import annotations

import random
import time
import uuid
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from sandbox.people import Organisation, generate
from sandbox.tenant.assignments import Assignments
from sandbox.tenant.errors import GraphError, invalid_value, not_found
from sandbox.tenant.objects import NEVER_SET, Change, DirectoryObject, Kind, State, timestamp
from sandbox.tenant.validation import check_required, checked_properties
from sandbox.tenant.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sandbox.tenant.config import Faults, TenantConfig

_MEMBERS_PER_CHANGE = 100
_CONFLICT = "Another object with the same value for property userPrincipalName already exists."
_ALREADY_MEMBER = "One or more added object references already exist for the following modified properties: 'members'."


class Tenant:
    """An Entra tenant in memory. Every method that changes it commits at once and tells ``listeners``.

    Methods raise ``GraphError`` where Graph would refuse. ``clock`` gives seconds since 1970. ``faults`` may be replaced at
    any time. Objects that the tenant was seeded with are older than the change log.
    """

    def __init__(
        self,
        config: TenantConfig,
        *,
        organisation: Organisation | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.clock = clock
        self.faults: Faults = config.faults
        self.rng = random.Random(f"faults/{config.seed}")
        self.objects: dict[str, DirectoryObject] = {}
        self.order: dict[Kind, list[DirectoryObject]] = {kind: [] for kind in Kind}
        self.listeners: list[Callable[[Change], None]] = []
        self.assignments = Assignments(self)
        self.domains = (config.domain, config.domain.split(".", maxsplit=1)[0] + ".onmicrosoft.com")
        self._ids = random.Random(f"ids/{config.seed}")
        self._log: list[Change] = []
        self._times: list[float] = []
        self._log_of: dict[Kind, list[Change]] = {kind: [] for kind in Kind}
        self._principal_names: dict[str, str] = {}
        self._ordinal = 0
        self._seed(organisation or generate(config.seed, config.users, config.groups, domain=config.domain))

    # Reading

    @property
    def position(self) -> int:
        """The sequence number of the latest change; 0 before the first."""
        return len(self._log)

    def now(self) -> View:
        """The directory as it is."""
        return View(self, self.position)

    def replica(self) -> View:
        """The directory as the replica sees it that happens to answer: behind by up to ``faults.lag_seconds``."""
        if not self.faults.lag_seconds:
            return self.now()
        lag = self.rng.uniform(0, self.faults.lag_seconds)
        return View(self, bisect_right(self._times, self.clock() - lag))

    def changes_after(self, position: int) -> Sequence[Change]:
        return self._log[position:] if position < len(self._log) else ()

    def log_of(self, kind: Kind) -> Sequence[Change]:
        """The changes of objects of one type, oldest first. Only grows."""
        return self._log_of[kind]

    def by_principal_name(self, name: str) -> DirectoryObject | None:
        object_id = self._principal_names.get(name.lower())
        return self.objects[object_id] if object_id else None

    # Creating and changing objects

    def create(self, kind: Kind, body: dict[str, Any]) -> DirectoryObject:
        """A new object from Graph properties."""
        properties = checked_properties(kind, body, self.domains)
        check_required(kind, properties)
        if kind is Kind.USER:
            self._check_principal_name_is_free(properties["userPrincipalName"])
            properties.setdefault("userType", "Member")
            properties.setdefault("businessPhones", [])
        if kind is Kind.GROUP:
            properties.setdefault("groupTypes", [])
        if kind in {Kind.USER, Kind.GROUP}:
            properties["createdDateTime"] = timestamp(self.clock())
        subject = self._add(self._new_id(), kind, properties)
        self._commit(subject, state_before=State.ABSENT, state_after=State.LIVE, before=dict.fromkeys(properties, NEVER_SET))
        return subject

    def create_user(self, **properties: Any) -> str:
        """Create a user and return the object id; what Graph requires but is not given is made up from the UPN."""
        alias = str(properties.get("userPrincipalName", "")).partition("@")[0]
        filled = {"accountEnabled": True, "displayName": alias, "mailNickname": alias} | properties
        return self.create(Kind.USER, filled).id

    def create_group(self, display_name: str, *, members: Iterable[str] = (), **properties: Any) -> str:
        """Create a security group with direct members and return its object id."""
        filled = {"mailEnabled": False, "mailNickname": f"g{len(self.order[Kind.GROUP])}", "securityEnabled": True} | properties
        group = self.create(Kind.GROUP, {"displayName": display_name} | filled)
        self.add_members(group.id, members)
        return group.id

    def update(self, object_id: str, body: dict[str, Any]) -> bool:
        """Change properties of a live object; returns whether anything differs now. A null clears."""
        subject = self._live(object_id)
        wanted = checked_properties(subject.kind, body, self.domains)
        for name, value in wanted.items():
            present = subject.properties.get(name)
            if isinstance(value, dict) and isinstance(present, dict):
                wanted[name] = present | value  # a complex value is patched, not replaced
        before = {
            name: subject.properties.get(name, NEVER_SET)
            for name, value in wanted.items()
            if subject.properties.get(name) != value
        }
        if not before:
            return False
        if "userPrincipalName" in before:
            self._check_principal_name_is_free(wanted["userPrincipalName"], but_for=subject.id)
            self._principal_names.pop(str(before["userPrincipalName"]).lower(), None)
            self._principal_names[wanted["userPrincipalName"].lower()] = subject.id
        subject.properties = subject.properties | {name: wanted[name] for name in before}
        self._commit(subject, before=before)
        return True

    def delete(self, object_id: str) -> None:
        """Delete as Graph does: users and Microsoft 365 groups can be restored, everything else is gone for good."""
        subject = self._live(object_id)
        unified = "Unified" in (subject.properties.get("groupTypes") or [])
        if subject.kind is Kind.USER or (subject.kind is Kind.GROUP and (unified or self.config.security_group_recycle_bin)):
            self._free_principal_name(subject)
            subject.state, subject.deleted_at = State.DELETED, self.clock()
            self._commit(subject, state_before=State.LIVE, state_after=State.DELETED)
        else:
            self._purge(subject)

    def restore(self, object_id: str) -> DirectoryObject:
        """Bring a deleted object back, with its memberships and its manager."""
        subject = self._deleted(object_id)
        if subject.kind is Kind.USER:
            name = subject.properties["userPrincipalName"]
            self._check_principal_name_is_free(name)
            self._principal_names[name.lower()] = subject.id
        subject.state, subject.deleted_at = State.LIVE, None
        self._commit(subject, state_before=State.DELETED, state_after=State.LIVE)
        return subject

    def purge(self, object_id: str) -> None:
        """Delete a deleted object for good; only now its memberships end."""
        self._purge(self._deleted(object_id))

    # Relationships

    def set_manager(self, user_id: str, manager_id: str | None) -> None:
        user = self._live(user_id, Kind.USER)
        if manager_id is not None:
            manager_id = self._live(manager_id, Kind.USER).id
        if user.manager_id != manager_id:
            before, user.manager_id = user.manager_id, manager_id
            self._commit(user, manager=(before, manager_id))

    def add_members(self, group_id: str, member_ids: Iterable[str]) -> None:
        """Add direct members; raises 400 if one already is a member, before anything has changed."""
        group = self._live(group_id, Kind.GROUP)
        members = [self._live(member_id) for member_id in dict.fromkeys(member_ids)]
        if any(member.id in group.members for member in members):
            raise invalid_value(_ALREADY_MEMBER)
        if group in members:
            raise invalid_value("A group cannot be added as a member of itself.")
        for start in range(0, len(members), _MEMBERS_PER_CHANGE):
            joined = [member.id for member in members[start : start + _MEMBERS_PER_CHANGE]]
            for member_id in joined:
                self._link(group, member_id)
            self._commit(group, members=tuple((member_id, True, 0) for member_id in joined))

    def remove_members(self, group_id: str, member_ids: Iterable[str]) -> None:
        """Remove direct members; raises 404 if one is none."""
        group = self._live(group_id, Kind.GROUP)
        leaving = list(dict.fromkeys(member_ids))
        for member_id in leaving:
            if member_id not in group.members:
                raise not_found(member_id)
        for start in range(0, len(leaving), _MEMBERS_PER_CHANGE):
            self._unlink(group, leaving[start : start + _MEMBERS_PER_CHANGE])

    # The inside

    def _seed(self, organisation: Organisation) -> None:
        for user in organisation.users:
            self._add(user.id, Kind.USER, user.properties).manager_id = user.manager_id
        for device in organisation.devices:
            self._add(device.id, Kind.DEVICE, device.properties)
        for group in organisation.groups:
            self._add(group.id, Kind.GROUP, group.properties)
        for group in organisation.groups:
            for member_id in group.member_ids:
                self._link(self.objects[group.id], member_id)
        if self.config.everyone_group:
            properties = {"displayName": "All Employees", "description": "Everyone", "mailNickname": "all", "groupTypes": []}
            everyone = self._add(self._new_id(), Kind.GROUP, properties | {"mailEnabled": False, "securityEnabled": True})
            for user in organisation.users:
                self._link(everyone, user.id)
        self.assignments.seed()

    def add_seeded(self, object_id: str, kind: Kind, properties: dict[str, Any]) -> DirectoryObject:
        """Put an object there without a trace in the change log, as if it had always been there."""
        return self._add(object_id, kind, properties)

    def _add(self, object_id: str, kind: Kind, properties: dict[str, Any]) -> DirectoryObject:
        subject = DirectoryObject(object_id, kind, properties)
        self.objects[object_id] = subject
        self.order[kind].append(subject)
        if kind is Kind.USER:
            self._principal_names[properties["userPrincipalName"].lower()] = object_id
        return subject

    def _commit(self, subject: DirectoryObject, **what: Any) -> None:
        change = Change(len(self._log) + 1, self.clock(), subject, **what)
        self._log.append(change)
        self._times.append(max(change.at, self._times[-1]) if self._times else change.at)
        self._log_of[subject.kind].append(change)
        subject.history.append(change)
        for listener in self.listeners:
            listener(change)

    def _link(self, group: DirectoryObject, member_id: str) -> None:
        self._ordinal += 1
        group.members[member_id] = self._ordinal
        group.edges = None
        self.objects[member_id].groups[group.id] = None

    def _unlink(self, group: DirectoryObject, member_ids: Iterable[str], *, hidden: bool = False) -> None:
        left = tuple((member_id, False, group.members.pop(member_id)) for member_id in member_ids)
        group.edges = None
        for member_id, _, _ in left:
            self.objects[member_id].groups.pop(group.id, None)
        self._commit(group, members=left, hidden_from_delta=hidden)

    def _purge(self, subject: DirectoryObject) -> None:
        for group_id in list(subject.groups):
            self._unlink(self.objects[group_id], (subject.id,), hidden=self.faults.purge_hides_memberships)
        for member_id in subject.members:
            self.objects[member_id].groups.pop(subject.id, None)
        if subject.kind is Kind.USER:
            for user in self.order[Kind.USER]:
                if user.manager_id == subject.id and user is not subject:
                    user.manager_id = None
                    self._commit(user, manager=(subject.id, None))
        self._free_principal_name(subject)
        self.assignments.forget_principal(subject.id)
        before, subject.state = subject.state, State.PURGED
        self._commit(subject, state_before=before, state_after=State.PURGED)

    def _free_principal_name(self, subject: DirectoryObject) -> None:
        if subject.kind is Kind.USER and subject.state is State.LIVE:
            self._principal_names.pop(subject.properties["userPrincipalName"].lower(), None)

    def _check_principal_name_is_free(self, name: str, *, but_for: str | None = None) -> None:
        if self._principal_names.get(name.lower(), but_for) != but_for:
            raise GraphError(400, "Request_BadRequest", _CONFLICT)

    def _live(self, object_id: str, kind: Kind | None = None) -> DirectoryObject:
        found = self.now().find(kind, object_id)
        if found is None:
            raise not_found(object_id)
        return found

    def _deleted(self, object_id: str) -> DirectoryObject:
        found = self.objects.get(object_id.lower())
        if found is None or found.state is not State.DELETED:
            raise not_found(object_id)
        return found

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))
