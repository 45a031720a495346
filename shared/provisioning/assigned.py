"""The assigned scope: who may be in ServiceNow because the enterprise application says so.

Graph has no delta and no notification for assignments, so every tick reads them all and compares. An incomplete read adds
whoever it names and takes nobody out. Those whose assignment or roles changed are looked at again; the others are not.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import ProvisioningError, RetryableError
from shared.events import ObjectsChanged, chunks, new_id
from shared.graph.objects import app_role_assignments, members, service_principal, transitive_members
from shared.state.assignments import Assignments, Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.events import Kind
    from shared.provisioning.services import Services

log = logging.getLogger("provisioning.assignments")

#: Head start of the picture before the events that were queued ahead of it are seen, in seconds.
_BEFORE_PICTURE = 10.0
_DEFAULT_ACCESS = "Default Access"


class Assigned:
    """Keep the picture of assignments and answer who is assigned."""

    def __init__(self, services: Services, store: Assignments) -> None:
        self._services = services
        self._store = store

    @property
    def counts(self) -> bool:
        """Whether assignments decide at all (``PROVISIONING_SCOPE=assigned``)."""
        return self._services.settings.scope == "assigned"

    async def roles(self, kind: Kind, ids: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
        """The roles of those who are assigned, by object id. None while there is no complete picture: nobody can be judged."""
        if not self.counts:
            return dict.fromkeys(ids, ())
        if (await self._store.picture()).generation == 0:
            await self.refresh()
            if (await self._store.picture()).generation == 0:
                return None
        return await self._store.roles(kind, ids)

    async def tick(self) -> None:
        """Look for changed assignments, once in a cycle; what cannot be read now is read in the next one."""
        try:
            await self.refresh()
        except RetryableError as error:
            log.warning("the assignments could not be read, the next cycle tries again: %s", error.reason)

    async def refresh(self) -> None:
        """Read all assignments and queue whoever gained or lost one."""
        if not self.counts:
            return
        services = self._services
        principal_id = services.settings.graph.service_principal_id
        read = await app_role_assignments(services.graph, principal_id)
        principal = await service_principal(services.graph, principal_id)
        names = {role.id: role.value or role.display_name or role.id for role in principal.app_roles}
        users: dict[str, set[str]] = {}
        groups: dict[str, set[str]] = {}
        complete = read.complete
        for assignment in read.assignments:
            role = names.get(assignment.app_role_id, _DEFAULT_ACCESS)
            kind = assignment.principal_type.casefold()
            if kind == "user":
                users.setdefault(assignment.principal_id, set()).add(role)
            elif kind == "group":
                groups.setdefault(assignment.principal_id, set()).add(role)
        for group_id, roles in groups.items():
            try:
                inside = await self._members(group_id)
            except ProvisioningError as error:
                log.warning("the members of the assigned group %s could not be read: %s", group_id, error.reason)
                complete = False
                continue
            for user_id in inside:
                users.setdefault(user_id, set()).update(roles)
        await self._replace("user", users, complete=complete)
        await self._replace("group", groups, complete=complete)
        if complete:
            picture = await self._store.picture()
            await self._store.finish(Picture(picture.generation + 1, tuple(sorted(groups))))
        else:
            log.warning("the assignments could not be read completely: nobody is taken out of scope")

    async def _members(self, group_id: str) -> list[str]:
        """The users of an assigned group; of nested groups too where the mapping says so."""
        mapping = self._services.mapping("user")
        nested = mapping is not None and mapping.options.nested_groups == "expand"
        read = transitive_members if nested else members
        return [member.id for member in await read(self._services.graph, group_id) if member.type in {"user", None}]

    async def _replace(self, kind: Kind, wanted: dict[str, set[str]], *, complete: bool) -> None:
        before = await self._store.all(kind)
        changed = {object_id: sorted(roles) for object_id, roles in wanted.items() if set(before.get(object_id, ())) != roles}
        changed |= {object_id: [] for object_id in wanted if object_id not in before and not wanted[object_id]}
        lost = [object_id for object_id in before if object_id not in wanted] if complete else []
        first = (await self._store.picture()).generation == 0
        looked_at = await self._services.guard.hold_unassigned(kind, lost, nobody_left=not wanted)
        at = self._services.clock()
        # The first full round looks at everybody anyway. Later the events come before the picture, so that a crash between
        # them loses nothing, and once more after it, because whoever looked before it looked in vain.
        events = (
            []
            if first
            else [
                ObjectsChanged(kind=kind, ids=tuple(part), reason="scope", occurred_at=at)
                for part in chunks([*changed, *looked_at])
            ]
        )
        await self._services.queues.send_all(events, delay=_BEFORE_PICTURE)
        await self._store.write(kind, changed)
        await self._store.remove(kind, lost)
        await self._services.queues.send_all(replace(event, id=new_id()) for event in events)
