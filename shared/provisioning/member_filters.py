"""Membership in a group as a source attribute: what ``memberOf`` holds, for those mappings and filters that ask for it.

Only what is asked for is read. Few objects are asked one by one, always afresh; many at once (the snapshots of a full round) are
looked up in the members of the groups that the filters name, read once a minute. Whoever joins or leaves such a group is looked
at again by his membership's change, so a picture that is a minute old does no harm.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import NotFoundError
from shared.events import ObjectsChanged, ObjectsSnapshot, chunks
from shared.graph.objects import member_of, members, transitive_members
from shared.schema.scoping import filter_values

if TYPE_CHECKING:
    from datetime import datetime

    from shared.events import MembersChanged
    from shared.provisioning.batch import Batch
    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping

ATTRIBUTE = "memberOf"
#: Up to so many objects are asked one by one.
_FEW = 20
_FRESH = timedelta(minutes=1)


class MemberFilters:
    """Answer who is a member of what, as far as a mapping asks."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pictures: dict[str, tuple[datetime, frozenset[str]]] = {}

    async def of_batch(self, batch: Batch) -> dict[str, tuple[str, ...]]:
        """The groups of each open object; empty when the mapping does not ask. Raises what Graph's reads raise."""
        mapping = batch.mapping
        if ATTRIBUTE not in mapping.source_attributes or batch.kind != "user":
            return {}
        ids = [work.object_id for work in batch.open]
        whole = any(ATTRIBUTE in attribute.source_attributes for attribute in mapping.attributes)
        nested = mapping.options.nested_groups == "expand"
        if whole or (len(ids) <= _FEW and not nested):
            return {object_id: await self._of_user(object_id) for object_id in ids}
        fresh = isinstance(batch.event, ObjectsSnapshot)
        found: dict[str, list[str]] = {object_id: [] for object_id in ids}
        for group_id in sorted(asked_groups(mapping)):
            inside = await self._of_group(group_id, nested=nested, cached=fresh)
            for object_id in ids:
                if object_id in inside:
                    found[object_id].append(group_id)
        return {object_id: tuple(groups) for object_id, groups in found.items()}

    async def look_at(self, event: MembersChanged) -> None:
        """Whoever joined or left a group that a filter names is judged again."""
        mapping = self._services.mapping("user")
        if mapping is None or event.full or ATTRIBUTE not in mapping.source_attributes:
            return
        named = asked_groups(mapping)
        if named and event.group_id not in named and mapping.options.nested_groups != "expand":
            return
        await self.judge_again(list(dict.fromkeys((*event.added, *event.removed))), event.cycle_id)

    async def judge_again(self, users: list[str], cycle_id: str) -> None:
        """Queue users whose memberships have changed, if a filter asks for memberships."""
        mapping = self._services.mapping("user")
        if mapping is None or ATTRIBUTE not in mapping.source_attributes:
            return
        at = self._services.clock()
        await self._services.queues.send_all(
            ObjectsChanged(kind="user", ids=tuple(part), reason="scope", occurred_at=at, cycle_id=cycle_id)
            for part in chunks(users)
        )

    async def _of_user(self, user_id: str) -> tuple[str, ...]:
        try:
            return tuple(ref.id for ref in await member_of(self._services.graph, user_id) if ref.type in {"group", None})
        except NotFoundError:
            return ()  # what became of him is read elsewhere

    async def _of_group(self, group_id: str, *, nested: bool, cached: bool) -> frozenset[str]:
        at = self._services.clock()
        known = self._pictures.get(group_id)
        if cached and known is not None and at - known[0] < _FRESH:
            return known[1]
        read = transitive_members if nested else members
        try:
            inside = frozenset(ref.id for ref in await read(self._services.graph, group_id) if ref.type in {"user", None})
        except NotFoundError:
            inside = frozenset()
        self._pictures[group_id] = (at, inside)
        return inside


def asked_groups(mapping: ObjectMapping) -> frozenset[str]:
    """The object ids of the groups that a mapping's filters name."""
    return filter_values(mapping.scope, ATTRIBUTE)
