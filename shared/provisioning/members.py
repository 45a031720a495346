"""Memberships: what Entra ID says about them, applied to sys_user_grmember by difference only.

Every membership is one row of state with its own lease; whatever made us look (a slice of the groups delta, a user or group
that appeared or went), the same ``reconcile`` compares what should be with what is and writes only that:

| should be | is | done |
|---|---|---|
| member; user and group are provisioned | no record | insert one (after looking for it) |
| member; user or group is not provisioned yet | no record | nothing: it is looked at again when that one appears |
| member; user is soft-deleted | record | delete it; it is inserted again when the user is restored |
| not a member | record | delete every record of the pair |

sys_user_grmember has no unique index, and REST races can duplicate its rows (found by other connectors): so the pair is looked
up before an insert, the insert carries a derived sys_id, and duplicates that are found are removed.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import FateUnknownError, NotFoundError, ProvisioningError, RetryableError
from shared.events import PairsDue, chunks, new_id
from shared.graph.objects import member_of, transitive_member_of
from shared.provisioning.backoff import retry_delay
from shared.provisioning.membership_cases import (
    TABLE,
    Case,
    Pair,
    account,
    committed,
    group_sys_id,
    pair_waiter,
    user_sys_id,
    verb_checked,
    verb_of,
    writes_of,
)
from shared.provisioning.membership_log import log_memberships
from shared.provisioning.page_events import chunk_key, rest_part
from shared.servicenow.queries import all_of, one_of
from shared.state.escrows import RETRY
from shared.state.leases import LEASE_MARGIN, Intent
from shared.state.progress import round_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.events import GroupMembersDue, MembersChanged, UserMembershipsDue
    from shared.provisioning.services import Services
    from shared.servicenow.writes import Outcome, Write
    from shared.state.leases import Lease
    from shared.state.memberships import Membership

log = logging.getLogger("provisioning.memberships")

_FIELDS = ("sys_id", "user", "group")
_PAGE = 1000
#: How often a slice of a full round waits for its group to be created first.
_GROUP_PATIENCE = 5
#: How often a user whom Graph does not find is asked for again.
_REPLICA_PATIENCE = 3
#: Longest time until a slice looks again for rows that somebody else holds, in seconds.
_BUSY_MOST = 15.0


class Members:
    """Apply what is known about memberships to ServiceNow."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def apply_slice(self, event: MembersChanged) -> None:
        """Note what a delta page says about a group's members, and write what differs."""
        services = self._services
        await services.member_filters.look_at(event)
        if event.full and event.attempt < _GROUP_PATIENCE and not (await services.joins.get("group", event.group_id)).is_linked:
            # The group itself is on its way in another message: give it a moment rather than parking every member.
            await services.queues.send(event.again(), delay=2.0)
            return
        if services.nesting.is_expanded("group") and not (event.full or event.absent):
            # Who left one group may still be a member through another, and who joined it is one of the groups around it.
            await services.nesting.queue_users((*event.added, *event.removed), event.cycle_id)
            event = replace(event, removed=())
        group = event.group_id
        pairs = [(group, user) for user in (*event.added, *event.removed)]
        added = frozenset(event.added)
        await services.memberships.index([(group, user) for user in event.added])
        rows = await services.memberships.of_slice(group, [user for _, user in pairs])
        rejoined = [pair_waiter(row.pair) for row in rows if row.user_id in added and row.sys_id and not row.desired]
        await services.guard.forget(rejoined)
        changed: list[Membership] = []
        for row in rows:
            told = (event.generation, event.page, event.read_at)
            if told < row.told:
                # A replay of an older page; or somebody lost his lease on the way, and what he wrote is looked at.
                changed += [row] if row.dirty else []
                continue
            wanted = row.user_id in added
            settled = row.desired is wanted and bool(row.sys_id) is wanted and not row.dirty and row.intent is None
            if settled and told == row.told:
                continue
            # Also what is so already is noted: a slice of an older page may still be on its way, and say the contrary.
            changed.append(replace(row, desired=wanted, generation=event.generation, page=event.page, read_at=event.read_at))
        busy, counts = await self._reconcile(changed, event.id, event.cycle_id, recent=event.full)
        if busy:
            await self._slice_again(event, frozenset(busy))
        if event.full and (not busy or len(frozenset(busy)) < len(pairs)):
            key = round_key("groups", event.generation)
            await services.progress.done(key, chunk_key(event), len(pairs) - len(frozenset(busy)), counts)

    async def _slice_again(self, event: MembersChanged, rest: frozenset[str]) -> None:
        """Without their lease, what the page says about these users is not noted yet: the slice comes again for them alone."""
        services = self._services
        again = event.again()
        if len(rest) < len(event.added) + len(event.removed):
            again = replace(
                again,
                id=new_id(),
                added=tuple(user for user in event.added if user in rest),
                removed=tuple(user for user in event.removed if user in rest),
                part=rest_part(event, sorted(rest)),
            )
        await services.queues.send(again, delay=min(_BUSY_MOST, retry_delay(event.attempt, None)))
        if event.full and again.part != event.part:
            # The round waits for them, or they would look like members whom it did not name; and only for what is queued,
            # or a crash in between would let it wait for ever.
            await services.progress.announce(round_key("groups", event.generation), [(chunk_key(again), len(rest))])

    async def reconcile(self, pairs: Sequence[Pair], event: PairsDue) -> None:
        """Look at memberships whose user or group has changed its state."""
        rows = await self._services.memberships.get_many(pairs)
        busy, _ = await self._reconcile([row for row in rows if row.etag], event.id, event.cycle_id)
        if event.reason == "retry":
            await self._forget_escrows(pairs)
        if event.reason in {"released", "request"}:
            await self._forget_staged(pairs)
        if busy:
            rest = frozenset(busy)
            again = replace(event.again(), id=new_id(), pairs=tuple(pair for pair in pairs if pair[1] in rest))
            await self._services.queues.send(again, delay=2.0)

    async def reconcile_group(self, event: GroupMembersDue) -> None:
        """Queue every membership of a group that is not as it should be."""
        after = event.after
        group = await self._services.joins.get("group", event.group_id)
        while True:
            rows = await self._services.memberships.of_group(event.group_id, after=after, limit=_PAGE)
            due = [
                row.pair
                for row in rows
                if row.desired != bool(row.sys_id) or row.dirty or (row.sys_id and row.group_sys_id != group.sys_id)
            ]
            await self.queue(due, event)
            if len(rows) < _PAGE:
                return
            after = rows[-1].user_id

    async def rederive(self, event: UserMembershipsDue) -> None:
        """Read a user's groups from Graph again: a soft-deleted user leaves the groups delta untouched, and so does a restore."""
        services = self._services
        read_at = services.clock()
        mark = await services.watermarks.get("groups")
        nested = services.nesting.is_expanded("group")
        try:
            refs = await (transitive_member_of if nested else member_of)(services.graph, event.user_id)
        except NotFoundError:
            # A replica that has not heard of his return, or he is gone again: what becomes of him then is decided with him.
            if event.attempt < _REPLICA_PATIENCE:
                delay = services.settings.graph.replication_grace
                await services.queues.send(event.again(), delay=max(delay, retry_delay(event.attempt, None)))
            return
        groups = [ref.id for ref in refs if ref.type in {"group", None}]
        if nested:
            await services.nesting.derive(event, frozenset(groups), mark, read_at)
            return
        pairs = [(group, event.user_id) for group in groups]
        known = await services.memberships.get_many(pairs)
        linked = {join.object_id for join in await services.joins.get_many("group", groups) if join.is_linked}
        missing = [row for row in known if not row.desired and row.group_id in linked]
        await services.memberships.index([row.pair for row in missing])
        wanted = [replace(row, desired=True, generation=mark.generation, page=mark.page, read_at=read_at) for row in missing]
        busy, _ = await self._reconcile(wanted, event.id, event.cycle_id)
        due = [pair for pair in dict.fromkeys([*await services.memberships.of_user(event.user_id), *pairs]) if pair[0] in linked]
        await self.queue([*due, *[row.pair for row in missing if row.user_id in busy]], event)

    async def queue(self, pairs: Iterable[Pair], event: GroupMembersDue | UserMembershipsDue | PairsDue) -> None:
        """Queue memberships to be looked at."""
        distinct = sorted(dict.fromkeys(pairs))
        await self._services.queues.send_all(
            PairsDue(pairs=tuple(part), reason=event.reason, cycle_id=event.cycle_id) for part in chunks(distinct)
        )

    async def reconcile_rows(self, rows: Sequence[Membership], event_id: str, cycle_id: str) -> tuple[list[str], dict[str, int]]:
        """Look at these rows, as they are wanted, now. Returns the users whose rows somebody else holds, and results by name."""
        return await self._reconcile(rows, event_id, cycle_id)

    async def _reconcile(
        self, rows: Sequence[Membership], event_id: str, cycle_id: str, *, recent: bool = False
    ) -> tuple[list[str], dict[str, int]]:
        """Lease, decide, write and commit. Returns the users whose rows are somebody else's, and counts of results.

        What is wanted of those is not noted: the caller has to come back with it.
        """
        services = self._services
        started = services.clock()
        taken = await services.memberships.take(rows, new_id())
        busy = [row.user_id for row, outcome in taken if outcome.lease is None]
        cases = await self._cases([(row, outcome.lease) for row, outcome in taken if outcome.lease is not None], recent=recent)
        try:
            await self._look_up(cases)
            await services.guard.admit_removals(cases)
            cases, lost = await self._announce(cases)
            busy += lost
            await self._write(cases)
        except ProvisioningError as error:
            for case in cases:
                # Also what was merely found to be so: a former worker's write is in no log yet, and his intent has to stand.
                if case.verb in {"add", "remove", "check"} and case.result in {"unchanged", "matched", "removed"}:
                    case.error = error
                    case.result = "retried" if isinstance(error, RetryableError) else "escrowed"
            await self._commit(cases)
            raise
        await log_memberships(services, cases, event_id, cycle_id, started)
        busy += await self._commit(cases)
        await self._look_again(cases)
        return busy, dict(Counter(case.result for case in cases))

    async def _cases(self, leased: Sequence[tuple[Membership, Lease]], *, recent: bool = False) -> list[Case]:
        joins = self._services.joins
        users = list(dict.fromkeys(row.user_id for row, _ in leased))
        groups = list(dict.fromkeys(row.group_id for row, _ in leased))
        if recent:
            user_joins = await self._services.recent_links.of_users(users)
        else:
            user_joins = {join.object_id: join for join in await joins.get_many("user", users)}
        group_joins = {join.object_id: join for join in await joins.get_many("group", groups)}
        cases = [
            Case(row, lease, user_joins[row.user_id], group_joins[row.group_id], inherited=row.intent) for row, lease in leased
        ]
        mapping = self._services.mapping("group")
        attribute = mapping.attribute("members") if mapping is not None else None
        for case in cases:
            case.add_only = attribute is not None and attribute.flow == "add_only"
            case.verb = verb_of(case)
            if case.verb == "wait":
                case.result = "waiting"
        return cases

    async def _look_up(self, cases: Sequence[Case]) -> None:
        """Find the records of the pairs that are to be written, with one query for all of them."""
        asked = [case for case in cases if case.verb in {"add", "remove", "check"}]
        if not asked:
            return
        users = list(dict.fromkeys(user_sys_id(case) for case in asked))
        groups = list(dict.fromkeys(group_sys_id(case) for case in asked))
        records = await self._services.servicenow.select(TABLE, all_of(one_of("group", groups), one_of("user", users)), _FIELDS)
        found: dict[Pair, list[str]] = {}
        for record in records:
            found.setdefault((record["group"], record["user"]), []).append(record["sys_id"])
        for case in asked:
            case.found = tuple(sorted(found.get((group_sys_id(case), user_sys_id(case)), ())))
            if case.verb == "check":
                case.checked = True
                case.verb = verb_checked(case)
            if case.verb == "add" and case.found:
                case.result = "matched"
            elif case.membership.intent is not None and not writes_of(case):
                # A former worker wrote it, and died before it said so.
                case.result = "matched" if case.found else "removed"
            if case.verb == "remove" and await self._belongs_to_another(case):
                case.found = ()

    async def _belongs_to_another(self, case: Case) -> bool:
        """Whether the user's or the group's record was taken over by another Entra object, which has this membership itself."""
        owners = self._services.owners
        user = await owners.owner("sys_user", user_sys_id(case)) or case.user.object_id
        group = await owners.owner("sys_user_group", group_sys_id(case)) or case.group.object_id
        if (group, user) == case.pair:
            return False
        return (await self._services.memberships.get_many([(group, user)]))[0].desired

    async def _announce(self, cases: list[Case]) -> tuple[list[Case], list[str]]:
        """Write the intent of each change. Returns the cases that are still ours, and the users of those that were lost."""
        acting = [case for case in cases if writes_of(case)]
        pairs = []
        for case in acting:
            intent = Intent(case.verb, "", case.lease.until)
            updated = replace(
                case.membership,
                intent=intent,
                user_sys_id=user_sys_id(case),
                group_sys_id=group_sys_id(case),
            )
            pairs.append((updated, case.lease))
        for case, (updated, _), lease in zip(
            acting, pairs, await self._services.memberships.write(pairs, keep=True), strict=True
        ):
            if lease is None:
                case.result = "lost"
            else:
                case.lease = lease
                case.membership = replace(updated, etag=lease.etag)
        lost = [case.membership.user_id for case in cases if case.result == "lost"]
        return [case for case in cases if case.result != "lost"], lost

    async def _write(self, cases: Sequence[Case]) -> None:
        """Send inserts and deletes together; they do not depend on each other."""
        writes: list[tuple[Case, Write]] = []
        for case in cases:
            writes += [(case, write) for write in writes_of(case)]
        if not writes:
            return
        until = min(case.lease.until for case, _ in writes).timestamp() - LEASE_MARGIN
        outcomes = await self._services.servicenow.write([write for _, write in writes], deadline=until)
        results: dict[Pair, list[Outcome]] = {}
        for (case, _), outcome in zip(writes, outcomes, strict=True):
            results.setdefault(case.pair, []).append(outcome)
        for case in cases:
            for outcome in results.get(case.pair, ()):
                account(case, outcome)

    async def _commit(self, cases: Sequence[Case]) -> list[str]:
        """Give the rows back with what is now true of them; requeue or escrow what failed. Returns the users of lost rows."""
        services = self._services
        at = services.clock()
        settled = [case for case in cases if not isinstance(case.error, FateUnknownError)]
        leases = await services.memberships.write([(committed(case), case.lease) for case in settled], keep=False)
        lost = [case.pair for case, lease in zip(settled, leases, strict=True) if lease is None]
        retried = [case for case in cases if isinstance(case.error, RetryableError)]
        unknown = [case.pair for case in retried if isinstance(case.error, FateUnknownError)]
        if unknown:
            # The rows keep their intent and their lease: the server may work on the request until then.
            until = max(case.lease.until for case in cases)
            await services.queues.send(PairsDue(pairs=tuple(unknown), reason="retry"), delay=(until - at).total_seconds() + 1)
        later = [case for case in retried if not isinstance(case.error, FateUnknownError)]
        if later:
            delay = max(
                ((case.error.retry_after or 2.0) for case in later if isinstance(case.error, RetryableError)), default=2.0
            )
            await services.queues.send(PairsDue(pairs=tuple(case.pair for case in later), reason="retry"), delay=delay)
        for case in cases:
            if case.result == "escrowed" and case.error is not None and case.pair not in lost:
                await services.waiting.retry_later(pair_waiter(case.pair), case.error)
        return [user for _, user in lost]

    async def _forget_escrows(self, pairs: Sequence[Pair]) -> None:
        """Remove the escrows of memberships that are as they should be now."""
        rows = await self._services.memberships.get_many(pairs)
        healed = [row.pair for row in rows if row.desired == bool(row.sys_id) and not row.dirty]
        await self._services.escrows.remove([f"{RETRY}/{pair_waiter(pair)}" for pair in healed])

    async def _forget_staged(self, pairs: Sequence[Pair]) -> None:
        """Nothing is held any more about memberships that are as they should be, and are to stay."""
        if not await self._services.guard.holds_anything():
            return
        rows = await self._services.memberships.get_many(pairs)
        users = await self._services.joins.get_many("user", [row.user_id for row in rows])
        settled = [
            pair_waiter(row.pair)
            for row, user in zip(rows, users, strict=True)
            if row.desired == bool(row.sys_id) and not (row.sys_id and user.state == "suspended")
        ]
        await self._services.guard.forget(settled)

    async def _look_again(self, cases: Sequence[Case]) -> None:
        """A user or group that appeared while its membership was put to wait did not see it waiting: look again."""
        waiting = [case for case in cases if case.verb == "wait"]
        if not waiting:
            return
        fresh = await self._cases([(case.membership, case.lease) for case in waiting])
        due = [case.pair for case in fresh if case.verb != "wait"]
        if due:
            await self._services.queues.send(PairsDue(pairs=tuple(due), reason="released"))
