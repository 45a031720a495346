"""Nested groups, where a mapping expands them: who is a member of a member group is a member of the outer group too.

The groups' delta names direct members only, and nothing tells the outer groups of a change deep inside. So a change is followed
from its people: everything about a user who joined or left any group is derived anew from what Graph says he is a member of at
any depth; a member group that came or went stands for all who are in it. The cost follows the change: one read for each person
concerned, however big or deep the outer groups are. A full round names the members at any depth of each group that has groups
in it.

A derived read begins after the grace for Graph's replicas, so that it cannot show the state before the change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import NotFoundError
from shared.events import MembersChanged, UserMembershipsDue, chunks
from shared.graph.objects import members, transitive_members
from shared.provisioning.backoff import retry_delay
from shared.provisioning.page_events import NESTED, chunk_key, nested_key
from shared.state.progress import round_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from shared.events import Kind, NestedMembersDue, NestingChanged
    from shared.provisioning.services import Services
    from shared.state.memberships import Membership
    from shared.state.watermarks import Watermark

#: A group in one of these states was deleted: Graph no longer names it among anybody's groups, and its memberships rest.
_DELETED = frozenset({"suspended", "deleted"})
#: Longest time until memberships that somebody else holds are looked at again, in seconds.
_BUSY_MOST = 15.0


class Nesting:
    """Members through other groups."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def is_expanded(self, kind: Kind) -> bool:
        """Whether the mapping of a kind counts members of member groups (option ``NestedGroups``)."""
        mapping = self._services.mapping(kind)
        return mapping is not None and mapping.options.nested_groups == "expand"

    async def users_of(self, group_id: str) -> set[str]:
        """The users who are to be members of a group. Raises what Graph's reads raise."""
        read = transitive_members if self.is_expanded("group") else members
        return {ref.id for ref in await read(self._services.graph, group_id) if ref.type in {"user", None}}

    async def queue_users(self, user_ids: Iterable[str], cycle_id: str) -> None:
        """Have everything about these users derived anew, after the grace."""
        due = [UserMembershipsDue(user_id=each, reason="scope", cycle_id=cycle_id) for each in dict.fromkeys(user_ids)]
        await self._services.queues.send_all(due, delay=self._services.settings.graph.replication_grace)

    async def name(self, event: NestedMembersDue) -> None:
        """Name the members at any depth of a group, as a full round names direct ones."""
        services = self._services
        read_at = services.clock()
        try:
            inside = sorted(await self.users_of(event.group_id))
        except NotFoundError:
            inside = []  # gone since: the next round says so
        slices = [
            MembersChanged(
                group_id=event.group_id,
                generation=event.generation,
                page=event.page,
                chunk=NESTED,
                cycle_id=event.cycle_id,
                read_at=read_at,
                added=tuple(part),
                removed=(),
                full=True,
            )
            for part in chunks(inside)
        ]
        key = round_key("groups", event.generation)
        # In this order: a round would wait for ever for what a crash kept from being queued.
        await services.queues.send_all(slices)
        await services.progress.announce(key, [(chunk_key(each), len(each.added)) for each in slices])
        await services.progress.done(key, nested_key(event), 0, {})

    async def follow(self, event: NestingChanged) -> None:
        """A group became a member of another one, is none any more, or is gone: everybody in it is concerned."""
        services = self._services
        concerned = {row.user_id for row in await services.memberships.of_group(event.group_id) if row.desired}
        try:
            inside = await transitive_members(services.graph, event.group_id)
            concerned |= {ref.id for ref in inside if ref.type in {"user", None}}
        except NotFoundError:
            pass  # a deleted group: who was in it is known from our rows
        if self.is_expanded("group"):
            # The grace is over: the event itself was delayed by it.
            due = [UserMembershipsDue(user_id=each, reason="scope", cycle_id=event.cycle_id) for each in sorted(concerned)]
            await services.queues.send_all(due)
        if self.is_expanded("user"):
            await services.member_filters.judge_again(sorted(concerned), event.cycle_id)

    async def derive(self, event: UserMembershipsDue, inside: frozenset[str], mark: Watermark, read_at: datetime) -> None:
        """Compare all memberships of a user with the groups that he is in at any depth, and write what differs.

        ``mark``: where the groups' chain stood when the read of ``inside`` began, at ``read_at``.
        """
        services = self._services
        pairs = list(
            dict.fromkeys(
                [*await services.memberships.of_user(event.user_id), *((each, event.user_id) for each in sorted(inside))]
            )
        )
        known = await services.memberships.get_many(pairs)
        joins = await services.joins.get_many("group", [row.group_id for row in known])
        deleted = {join.object_id for join in joins if join.state in _DELETED}
        changed = [
            replace(row, desired=row.group_id in inside, generation=mark.generation, page=mark.page, read_at=read_at)
            for row in known
            if _is_due(row, wanted=row.group_id in inside)
            and row.group_id not in deleted
            and (mark.generation, mark.page, read_at) >= row.told
        ]
        await services.memberships.index([row.pair for row in changed if row.desired])
        rejoined = [f"pair:{row.group_id}:{row.user_id}" for row in changed if row.desired and row.sys_id]
        await services.guard.forget(rejoined)
        busy, _ = await services.members.reconcile_rows(changed, event.id, event.cycle_id)
        if busy:
            await services.queues.send(event.again(), delay=min(_BUSY_MOST, retry_delay(event.attempt, None)))


def _is_due(row: Membership, *, wanted: bool) -> bool:
    return row.desired is not wanted or bool(row.sys_id) is not wanted or row.dirty or row.intent is not None
