"""The directory as a replica sees it: every object as it was at a position of the change log."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sandbox.tenant.objects import NEVER_SET, DirectoryObject, Kind, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.tenant.directory import Tenant


class View:
    """Reads at ``position``: changes with a higher sequence number have not happened yet."""

    def __init__(self, tenant: Tenant, position: int) -> None:
        self._tenant = tenant
        self.position = position

    def _later(self, subject: DirectoryObject) -> bool:
        return bool(subject.history) and subject.history[-1].seq > self.position

    def state(self, subject: DirectoryObject) -> State:
        state = subject.state
        if self._later(subject):
            for change in reversed(subject.history):
                if change.seq <= self.position:
                    break
                if change.state_before is not None:
                    state = change.state_before
        return state

    def properties(self, subject: DirectoryObject) -> dict[str, Any]:
        """Every property that was ever set; a cleared one is None. Not to be changed."""
        if not self._later(subject):
            return subject.properties
        values = dict(subject.properties)
        for change in reversed(subject.history):
            if change.seq <= self.position:
                break
            for name, value in change.before.items():
                if value is NEVER_SET:
                    values.pop(name, None)
                else:
                    values[name] = value
        return values

    def manager(self, subject: DirectoryObject) -> DirectoryObject | None:
        """The manager, unless deleted."""
        manager_id = subject.manager_id
        if self._later(subject):
            for change in reversed(subject.history):
                if change.seq <= self.position:
                    break
                if change.manager is not None:
                    manager_id = change.manager[0]
        manager = self._tenant.objects.get(manager_id) if manager_id else None
        return manager if manager is not None and self.state(manager) is State.LIVE else None

    def members(self, group: DirectoryObject) -> Iterator[DirectoryObject]:
        """Direct members, without the deleted ones."""
        return (member for _, member in self.member_edges(group))

    def member_edges(self, group: DirectoryObject, *, after: int = 0) -> Iterator[tuple[int, DirectoryObject]]:
        """Direct members that are not deleted, with the ordinals of their edges, from the one that follows ``after``.

        Whoever reads page by page misses nobody, even if the group changes meanwhile.
        """
        edges = group.ordered_edges()
        if self._later(group):
            edges = self._former_edges(group)
        for index in range(bisect_right(edges, after, key=itemgetter(0)), len(edges)):
            ordinal, member_id = edges[index]
            member = self._tenant.objects[member_id]
            if self.state(member) is State.LIVE:
                yield ordinal, member

    def _former_edges(self, group: DirectoryObject) -> list[tuple[int, str]]:
        ids = dict(group.members)
        for change in reversed(group.history):
            if change.seq <= self.position:
                break
            for member_id, joined, ordinal in change.members:
                if joined:
                    ids.pop(member_id, None)
                else:
                    ids[member_id] = ordinal
        return sorted((ordinal, member_id) for member_id, ordinal in ids.items())

    def transitive_members(self, group: DirectoryObject) -> Iterator[DirectoryObject]:
        """Members at any depth, each once; nested groups themselves are among them."""
        seen: set[str] = {group.id}
        waiting = [group]
        while waiting:
            for member in self.members(waiting.pop()):
                if member.id not in seen:
                    seen.add(member.id)
                    yield member
                    if member.kind is Kind.GROUP:
                        waiting.append(member)

    def groups_of(self, subject: DirectoryObject) -> Iterator[DirectoryObject]:
        """Groups that the object is a direct member of."""
        ids = dict(subject.groups)
        for change in self._tenant.changes_after(self.position):
            for member_id, joined, _ in change.members:
                if member_id == subject.id:
                    if joined:
                        ids.pop(change.subject.id, None)
                    else:
                        ids[change.subject.id] = None
        for group_id in ids:
            group = self._tenant.objects[group_id]
            if self.state(group) is State.LIVE:
                yield group

    def transitive_groups_of(self, subject: DirectoryObject) -> Iterator[DirectoryObject]:
        seen: set[str] = {subject.id}
        waiting = [subject]
        while waiting:
            for group in self.groups_of(waiting.pop()):
                if group.id not in seen:
                    seen.add(group.id)
                    yield group
                    waiting.append(group)

    def find(self, kind: Kind | None, key: str, state: State = State.LIVE) -> DirectoryObject | None:
        """The object by object id, or for users by userPrincipalName; None if it is not in ``state``."""
        found = self._tenant.objects.get(key.lower())
        if found is None and kind is Kind.USER:
            found = self._tenant.by_principal_name(key)
        if found is None or (kind is not None and found.kind is not kind) or self.state(found) is not state:
            return None
        return found

    def all(self, kind: Kind, state: State = State.LIVE, *, start: int = 0) -> Iterator[tuple[int, DirectoryObject]]:
        """Objects in the order of their creation from index ``start`` on, with the index that follows each."""
        order = self._tenant.order[kind]
        for index in range(start, len(order)):
            if self.state(order[index]) is state:
                yield index + 1, order[index]
