"""Users and groups through the five steps: import, scope, match, resolve, export.

The unit of work is a chunk: the objects of one message. Each succeeds or fails alone. The order of a write is fixed, because
each step is what makes a crash before the next one harmless:

lease → read Graph → decide → intent → send (only while the lease outlasts the request) → escrows and log → the join, as the
commit mark → release whoever waits for this object.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import (
    AmbiguousMatchError,
    ConflictError,
    CredentialsError,
    FateUnknownError,
    ProvisioningError,
    RetryableError,
)
from shared.events import Event, GroupMembersDue, ObjectsChanged, ObjectsSnapshot, PairsDue, UserMembershipsDue, chunks, new_id
from shared.graph.objects import Failed, Missing, Present, SoftDeleted, read_objects
from shared.provisioning.cycles import chunk_key
from shared.provisioning.deciding import Circumstances, Verdict, decide, display_name, fingerprint
from shared.provisioning.exporting import Columns, account, plan
from shared.provisioning.matching import PROTECTION, match, natural_key
from shared.provisioning.resolving import resolve
from shared.provisioning.summary import change_id, summarize
from shared.provisioning.work import Outcome, Work
from shared.schema.expressions import EvaluationContext
from shared.servicenow.sys_ids import derived_sys_id
from shared.servicenow.writes import Delete, Insert, Write
from shared.state.escrows import RETRY
from shared.state.leases import LEASE_MARGIN, Intent, Taken
from shared.state.log import LogEntry
from shared.state.owners import Claim
from shared.state.progress import round_key
from shared.state.tables import Stale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from shared.events import Kind
    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping
    from shared.servicenow.writes import Outcome as WriteOutcome
    from shared.state.joins import Join

log = logging.getLogger("provisioning.objects")

#: Outcomes that are counted but not logged one by one.
_QUIET = frozenset({"unchanged", "covered"})
#: How soon an object that somebody else holds is looked at again, in seconds, at the least and at the most.
_BUSY_LEAST, _BUSY_MOST = 1.0, 30.0
#: After a lease was taken over together with an intent, the record is compared once more, in seconds: the former holder may
#: have been stopped right before it sent its request, and have sent it since.
_CROSSED = 60.0


@dataclass(slots=True)
class Batch:
    """The objects of one message and what they share."""

    event: ObjectsChanged | ObjectsSnapshot
    mapping: ObjectMapping
    works: list[Work]
    started: datetime
    context: EvaluationContext
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    crossed: list[str] = field(default_factory=list)
    roles: Mapping[str, tuple[str, ...]] | None = None

    @property
    def kind(self) -> Kind:
        return self.event.kind

    @property
    def open(self) -> list[Work]:
        return [work for work in self.works if work.is_open]

    @property
    def decided(self) -> list[Work]:
        return [work for work in self.works if work.is_open and work.object_id in self.verdicts]


class Objects:
    """Take the objects of an event to their ends."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def process(self, event: ObjectsChanged | ObjectsSnapshot) -> None:
        """Process one message. Raises what concerns all of its objects; what concerns one ends with that one."""
        services = self._services
        mapping = services.mapping(event.kind)
        if mapping is None:
            return
        batch = await self._batch(event, mapping)
        if isinstance(event, ObjectsSnapshot):
            await self._skip_unchanged(batch)
        await self._lease(batch)
        try:
            await self._steps(batch)
        except ProvisioningError as error:
            await self._give_back(batch, error)
            if isinstance(event, ObjectsSnapshot) and isinstance(error, RetryableError):
                raise
            if isinstance(error, (RetryableError, CredentialsError)):
                raise
            await self._escrow_all(batch, error)
        await self._finish(batch)

    async def _batch(self, event: ObjectsChanged | ObjectsSnapshot, mapping: ObjectMapping) -> Batch:
        services = self._services
        started = services.clock()
        raws: dict[str, dict[str, Any]] = {}
        if isinstance(event, ObjectsSnapshot):
            raws = {str(item["id"]): item for item in event.items}
        ids = list(raws) if raws else list(dict.fromkeys(event.ids if isinstance(event, ObjectsChanged) else ()))
        works = []
        for object_id, join in zip(ids, await services.joins.get_many(event.kind, ids), strict=True):
            work = Work(event.kind, object_id, change_id(event.id, object_id), join, display=display_name(None, object_id))
            if isinstance(event, ObjectsSnapshot):
                work.raw, work.read_at, work.presence = raws[object_id], event.read_at, "present"
                work.is_snapshot = True
                work.display = display_name(work.raw, object_id)
                work.note("EntryImportAdd", "import", "success", f"Received {work.noun} '{work.display}' from Microsoft Entra ID")
            elif self._is_covered(event, join):
                work.end(Outcome("covered"))
            works.append(work)
        context = EvaluationContext(now=started, default_domain=await services.default_domain(mapping))
        return Batch(event, mapping, works, started, context)

    def _is_covered(self, event: ObjectsChanged, join: Join) -> bool:
        """Whether a read that began after the event, and after Graph's replicas had time to agree, was committed already."""
        if event.reason not in {"notification", "delta", "confirm"} or event.gone or join.dirty or join.intent is not None:
            return False
        grace = timedelta(seconds=self._services.settings.graph.replication_grace)
        return join.read_at is not None and join.read_at >= event.occurred_at + grace

    async def _skip_unchanged(self, batch: Batch) -> None:
        """End the objects of a snapshot that are as they were exported, or older than what was: no lease, no request."""
        event = batch.event
        assert isinstance(event, ObjectsSnapshot)  # noqa: S101 - the caller's condition
        settled: list[Join] = []
        for work in batch.works:
            join = work.join
            if join.read_at is not None and join.read_at > event.read_at:
                work.end(Outcome("covered"))
                settled.append(join)
        probes = [replace_work(work) for work in batch.open if not work.join.dirty and work.join.intent is None]
        probe = replace(batch, works=probes, verdicts={})
        await self._scope(probe)
        await resolve(self._services, probe.decided, batch.mapping)
        by_id = {work.object_id: work for work in batch.works}
        for candidate in probes:
            work, join = by_id[candidate.object_id], candidate.join
            verdict = probe.verdicts.get(candidate.object_id)
            if verdict is not None and candidate.is_open:
                if join.fingerprint == fingerprint(candidate, verdict, self._services.mappings.version):
                    work.end(Outcome("unchanged"))
                    settled.append(join)
            elif verdict is None and not join.sys_id and candidate.outcome is not None and candidate.outcome.name == "skipped":
                # Nobody we ever touched, and nobody to touch now: the skip stands as it is.
                work.steps, work.outcome, work.reason = candidate.steps, candidate.outcome, candidate.reason
        await self._services.joins.mark_seen(settled, event.generation)

    async def _lease(self, batch: Batch) -> None:
        """Take the leases; objects that somebody else holds end here and come back."""
        services = self._services
        works = batch.open
        taken = await services.joins.take([work.join for work in works], new_id())
        at = services.clock()
        for work, (join, outcome) in zip(works, taken, strict=True):
            if outcome.lease is None:
                work.end(Outcome("retried", again=_busy_delay(outcome, at)))
                continue
            work.join, work.lease = join, outcome.lease
            if join.intent is not None:
                # The former holder may have sent its request. The lease outlasts every request, so its end is settled by now.
                work.join = replace(join, dirty=True, intent=None)
                batch.crossed.append(work.object_id)

    async def _steps(self, batch: Batch) -> None:
        await self._import(batch)
        await self._scope(batch)
        await resolve(self._services, batch.decided, batch.mapping)
        self._compare_fingerprints(batch)
        if batch.decided:
            await self._read_target(batch)
            await self._export(batch)

    async def _import(self, batch: Batch) -> None:
        """Read what a snapshot does not bring, or may not decide alone."""
        event = batch.event
        unread = [work for work in batch.open if work.presence == "unread" or _needs_a_read(work)]
        if not unread:
            return
        select = batch.mapping.select
        reads = await read_objects(self._services.graph, batch.kind, [work.object_id for work in unread], select)
        gone = isinstance(event, ObjectsChanged) and event.gone
        for work in unread:
            match reads[work.object_id]:
                case Present(raw=raw, read_at=read_at):
                    work.raw, work.read_at, work.presence = raw, read_at, "present"
                case SoftDeleted(raw=raw, read_at=read_at):
                    work.raw, work.read_at, work.presence = raw, read_at, "softDeleted"
                case Missing(read_at=read_at):
                    work.read_at, work.presence = read_at, "gone" if gone else "unknown"
                case Failed(error=error):
                    self._read_failed(work, error)
                    continue
            work.display = display_name(work.raw, work.object_id)
            work.note(
                "EntryImport",
                "import",
                "success",
                f"Retrieved {work.noun} '{work.display}' from Microsoft Entra ID",
                objectId=work.object_id,
                presence=work.presence,
            )

    @staticmethod
    def _read_failed(work: Work, error: ProvisioningError) -> None:
        work.note("EntryImport", "import", "failure", error.reason, errorCode=error.code)
        if isinstance(error, RetryableError):
            work.end(Outcome("retried", "other", "failure", error, again=error.retry_after or 2.0))
        else:
            work.end(Outcome("escrowed", "other", "failure", error))

    async def _scope(self, batch: Batch) -> None:
        event = batch.event
        if batch.roles is None:
            ids = [work.object_id for work in batch.open]
            batch.roles = await self._services.assigned.roles(batch.kind, ids)
        for work in batch.open:
            if batch.roles is None:
                error = RetryableError(
                    "the assignments could not be read completely yet, so nobody can be judged", retry_after=30.0
                )
                work.end(Outcome("retried", "other", "failure", error, again=30.0))
                continue
            circumstances = Circumstances(
                roles=batch.roles.get(work.object_id),
                gone=isinstance(event, ObjectsChanged) and event.gone,
                absent=isinstance(event, ObjectsChanged) and event.reason == "absent",
                now=batch.started,
            )
            verdict = decide(work, batch.mapping, circumstances, batch.context)
            if verdict is not None:
                batch.verdicts[work.object_id] = verdict

    def _compare_fingerprints(self, batch: Batch) -> None:
        """An equal fingerprint ends an event without touching ServiceNow."""
        for work in batch.decided:
            work.fingerprint = fingerprint(work, batch.verdicts[work.object_id], self._services.mappings.version)
            if work.join.fingerprint == work.fingerprint and not work.join.dirty:
                work.next_join = work.join
                work.end(Outcome("unchanged"))

    async def _read_target(self, batch: Batch) -> None:
        """Match who has no link, and read the records of dirty links."""
        services, mapping = self._services, batch.mapping
        dictionary = await services.target.dictionary(mapping.table)
        missing = await services.target.missing_columns(mapping)
        wanted = [attribute.target for attribute in mapping.attributes if attribute.target not in missing]
        candidates = (*wanted, "active", "locked_out", "sys_created_on", *PROTECTION)
        fields = list(dict.fromkeys(column for column in candidates if column in dictionary))
        dirty = [work for work in batch.decided if work.join.sys_id and work.join.dirty and work.decision != "delete"]
        for work in dirty:
            work.record = await services.servicenow.get(mapping.table, work.join.sys_id, fields)
            if work.record is None:
                await self._lost_record(batch, work)
        unlinked = [work for work in batch.decided if not work.join.sys_id and work.record is None]
        if unlinked:
            await match(services, unlinked, mapping, fields, batch.context)
            await self._claim_matches(batch, [work for work in unlinked if work.is_open and work.record is not None])

    async def _lost_record(self, batch: Batch, work: Work) -> None:
        """A linked record that is not there any more: a control question first, because a lost permission looks the same."""
        await self._services.target.prove_absence(batch.mapping.table)
        work.note("EntryImport", "matching", "warning", f"The linked record {work.join.sys_id} is gone from ServiceNow")
        if batch.mapping.options.recreate_missing == "hold" or batch.verdicts[work.object_id].state != "linked":
            error = ProvisioningError(
                f"the linked record {work.join.sys_id} is gone from ServiceNow or hidden from the integration user",
                code="InvalidAnchor",
                recommended_action="Restore the record, or remove the link (DELETE /api/links) so that it is matched again.",
            )
            work.end(Outcome("escrowed", "other", "failure", error))
            return
        await self._services.owners.release(Claim(batch.mapping.table, work.join.sys_id, work.object_id))
        work.join = replace(work.join, sys_id="", hashes={}, fingerprint="")

    async def _claim_matches(self, batch: Batch, matched: Sequence[Work]) -> None:
        """Own the matched records; a record of another object is taken over only if that one has no right to it any more."""
        services, table = self._services, batch.mapping.table
        claims = [Claim(table, work.record["sys_id"], work.object_id) for work in matched if work.record is not None]
        for work, claim, owner in zip(matched, claims, await services.owners.claim(claims), strict=True):
            if owner != work.object_id and not await self._take_over(batch.kind, claim, owner):
                error = AmbiguousMatchError(
                    f"record {claim.sys_id} of {table} is linked to another Entra object, {owner}",
                    code="DuplicateSourceEntries",
                    recommended_action="Give the two objects different values of the matching attribute, or remove one link.",
                )
                work.note("EntryImportByJoiningProperty", "matching", "failure", error.reason, errorCode=error.code)
                work.end(Outcome("escrowed", "other", "failure", error))
                continue
            work.is_new_link = True

    async def _take_over(self, kind: Kind, claim: Claim, former: str) -> bool:
        """A rehire: the record of an object that is deleted, unassigned or gone passes to the new one; False if it may not."""
        services = self._services
        join = await services.joins.get(kind, former)
        if join.sys_id == claim.sys_id and join.state in {"linked", "disabled"}:
            return False
        if not join.sys_id and join.state == "" and not join.etag:
            return False
        if not join.sys_id and join.state == "":
            # The former claimant is still working on it, or failed to: its lease tells.
            held = join.lease_until is not None and join.lease_holder and join.lease_until > services.clock()
            if held:
                return False
        try:
            if join.sys_id == claim.sys_id:
                await services.joins.retire(join)
            moved = await services.owners.move(claim, former)
        except Stale:
            return False
        if moved:
            log.warning("record %s passes from %s to %s", claim.sys_id, former, claim.object_id)
            pairs = await services.memberships.of_user(former) if kind == "user" else []
            await services.queues.send_all(PairsDue(pairs=tuple(part), reason="released") for part in chunks(sorted(pairs)))
        return moved

    async def _export(self, batch: Batch) -> None:
        services, mapping = self._services, batch.mapping
        dictionary = await services.target.dictionary(mapping.table)
        columns = Columns(dictionary, await services.target.missing_columns(mapping))
        planned: list[tuple[Work, Write | None]] = []
        for work in batch.decided:
            write = plan(work, mapping, batch.verdicts[work.object_id], columns)
            if work.is_open:
                planned.append((work, write))
        for work, write in planned:
            if write is None:
                account(work, mapping, batch.verdicts[work.object_id], None, None)
        acting = [(work, write) for work, write in planned if write is not None]
        acting = await self._claim_new(batch, acting)
        acting = await self._announce(acting)
        if not acting:
            return
        until = min(work.lease.until for work, _ in acting if work.lease is not None).timestamp() - LEASE_MARGIN
        outcomes: list[WriteOutcome] = await services.servicenow.write([write for _, write in acting], deadline=until)
        for (work, write), outcome in zip(acting, outcomes, strict=True):
            account(work, mapping, batch.verdicts[work.object_id], write, outcome)
        await self._settle_owners(batch, acting)

    async def _claim_new(self, batch: Batch, acting: list[tuple[Work, Write]]) -> list[tuple[Work, Write]]:
        """Give each insert its derived sys_id, claimed first: two objects with one natural key cannot both create it."""
        inserts = [(work, write) for work, write in acting if isinstance(write, Insert)]
        if not inserts:
            return acting
        table = batch.mapping.table
        claims = []
        for work, _ in inserts:
            key = natural_key(work, batch.mapping, batch.context)
            claims.append(Claim(table, derived_sys_id(table, *key), work.object_id))
        owners = await self._services.owners.claim(claims)
        sys_ids: dict[str, str] = {}
        for (work, _), claim, owner in zip(inserts, claims, owners, strict=True):
            if owner != work.object_id:
                sys_id = await self._other_sys_id(batch, work, claim, owner)
                if sys_id is None:
                    continue
                sys_ids[work.object_id] = sys_id
            elif work.join.dirty and await self._is_taken(table, claim.sys_id):
                sys_ids[work.object_id] = derived_sys_id(table, claim.sys_id, work.object_id)
            else:
                sys_ids[work.object_id] = claim.sys_id
        result: list[tuple[Work, Write]] = []
        for work, write in acting:
            if isinstance(write, Insert):
                if work.is_open:
                    result.append((work, replace(write, sys_id=sys_ids[work.object_id])))
            else:
                result.append((work, write))
        return result

    async def _is_taken(self, table: str, sys_id: str) -> bool:
        """Whether a record with this id exists though it does not match: its natural key was changed since."""
        return await self._services.servicenow.get(table, sys_id, ("sys_id",)) is not None

    async def _other_sys_id(self, batch: Batch, work: Work, claim: Claim, owner: str) -> str | None:
        """Somebody else claimed the record of this natural key: another id if he has moved on, else a conflict."""
        join = await self._services.joins.get(batch.kind, owner)
        held = join.lease_until is not None and bool(join.lease_holder) and join.lease_until > self._services.clock()
        if join.sys_id == claim.sys_id or (not join.sys_id and not held) or join.sys_id:
            # He has a record by now (under this id or another) that no longer has the natural key, or he gave up.
            if not join.sys_id and join.state == "":
                await self._services.owners.move(claim, owner)
                return claim.sys_id
            return derived_sys_id(claim.table, claim.sys_id, work.object_id)
        error = ConflictError(
            f"another Entra object, {owner}, is being created with the same matching value",
            recommended_action="Give the two objects different values of the matching attribute.",
        )
        error.code = "DuplicateSourceEntries"
        work.end(Outcome("retried", "create", "failure", error, again=5.0))
        return None

    async def _announce(self, acting: list[tuple[Work, Write]]) -> list[tuple[Work, Write]]:
        """Write the intents; objects whose lease was lost end here."""
        services = self._services
        pairs = []
        for work, write in acting:
            assert work.lease is not None  # noqa: S101 - every open work was leased
            join = replace(work.join, intent=Intent(type(write).__name__, work.change_id, work.lease.until))
            pairs.append((join, work.lease))
        result = []
        for (work, write), (join, _), lease in zip(acting, pairs, await services.joins.write(pairs, keep=True), strict=True):
            if lease is None:
                work.end(Outcome("retried", again=_BUSY_LEAST))
                work.lease = None
            else:
                work.lease, work.join = lease, replace(join, etag=lease.etag)
                result.append((work, write))
        return result

    async def _settle_owners(self, batch: Batch, acting: Sequence[tuple[Work, Write]]) -> None:
        """A record that got another id than the one claimed is claimed under its own; a deleted one is given up."""
        services, table = self._services, batch.mapping.table
        for work, write in acting:
            if isinstance(write, Insert) and work.next_join is not None and work.next_join.sys_id not in {"", write.sys_id}:
                await services.owners.claim([Claim(table, work.next_join.sys_id, work.object_id)])
            if isinstance(write, Delete) and work.outcome is not None and work.outcome.name == "deleted":
                await services.owners.release(Claim(table, write.sys_id, work.object_id))

    async def _give_back(self, batch: Batch, error: ProvisioningError) -> None:
        """The whole chunk failed before its end: leases are returned, except where a request may still be under way."""
        held = [work for work in batch.works if work.lease is not None and work.next_join is None]
        if isinstance(error, FateUnknownError):
            return
        joins = [(replace(work.join, intent=None), work.lease) for work in held if work.lease is not None]
        await self._services.joins.write(joins, keep=False)
        for work in held:
            work.lease = None

    async def _escrow_all(self, batch: Batch, error: ProvisioningError) -> None:
        for work in batch.open:
            work.note("EntryExport", "export", "failure", error.reason, errorCode=error.code)
            work.end(Outcome("escrowed", "other", "failure", error))

    async def _finish(self, batch: Batch) -> None:
        """Escrows and log first, then the joins, then whoever waited."""
        services = self._services
        ended = services.clock()
        await self._write_escrows(batch)
        await self._write_log(batch, ended)
        lost = await self._commit(batch)
        await services.queues.send_all(self._follow_ups(batch, lost))
        await self._look_again(batch)
        await self._retry(batch, lost)
        if isinstance(batch.event, ObjectsSnapshot):
            counts: Counter[str] = Counter(work.outcome.name for work in batch.works if work.outcome is not None)
            chain = "users" if batch.kind == "user" else "groups"
            await services.progress.done(
                round_key(chain, batch.event.generation), chunk_key(batch.event), len(batch.works), dict(counts)
            )

    async def _write_escrows(self, batch: Batch) -> None:
        waits = [escrow for work in batch.works for escrow in work.waits if work.outcome and work.outcome.name != "unchanged"]
        await self._services.escrows.write(waits)
        for work in batch.works:
            if work.outcome is not None and work.outcome.name == "escrowed" and work.outcome.error is not None and not work.waits:
                await self._services.waiting.retry_later(_waiter(work), work.outcome.error)

    async def _write_log(self, batch: Batch, ended: datetime) -> None:
        cycle_id = batch.event.cycle_id
        context = self._services.log_context(cycle_id)
        entries = [
            LogEntry(ended, work.change_id, work.object_id, summarize(work, context, batch.started, ended))
            for work in batch.works
            if work.outcome is not None
            and work.outcome.name not in _QUIET
            and (work.outcome.error or work.outcome.name != "retried")
        ]
        await self._services.log.write(entries)

    async def _commit(self, batch: Batch) -> set[str]:
        """Write the joins and give the leases back; returns the objects whose lease was lost meanwhile."""
        event = batch.event
        pairs: list[tuple[Join, Any]] = []
        works: list[Work] = []
        for work in batch.works:
            if work.lease is None or (work.outcome is not None and isinstance(work.outcome.error, FateUnknownError)):
                continue
            join = replace(work.next_join or work.join, intent=None, etag=work.lease.etag)
            if work.outcome is not None and work.outcome.name != "retried" and work.read_at is not None:
                join = replace(join, read_at=work.read_at, schema=self._services.mappings.version)
            if isinstance(event, ObjectsSnapshot):
                join = replace(join, generation=max(join.generation, event.generation))
            works.append(work)
            pairs.append((join, work.lease))
        results = await self._services.joins.write(pairs, keep=False)
        lost = {work.object_id for work, result in zip(works, results, strict=True) if result is None}
        obsolete = [
            key
            for work, (join, _) in zip(works, pairs, strict=True)
            if work.object_id not in lost
            for key in _obsolete_escrows(work, join, batch.event)
        ]
        await self._services.escrows.remove(obsolete)
        return lost

    def _follow_ups(self, batch: Batch, lost: Iterable[str]) -> list[Event]:
        """Events that the committed changes cause."""
        event, kind = batch.event, batch.kind
        gone = set(lost)
        done = [
            work for work in batch.works if work.object_id not in gone and work.outcome is not None and work.next_join is not None
        ]
        events: list[Event] = []
        for work in done:
            before, after = work.join.state, work.next_join.state if work.next_join else ""
            if kind == "group":
                if after == "linked" and before != "linked":
                    events.append(GroupMembersDue(group_id=work.object_id, reason="released", cycle_id=event.cycle_id))
            elif after in {"linked", "disabled"} and before in {"suspended", "unmanaged", "deleted", "retired"}:
                events.append(UserMembershipsDue(user_id=work.object_id, reason="released", cycle_id=event.cycle_id))
        if batch.crossed:
            events.append(
                ObjectsChanged(kind=kind, ids=tuple(batch.crossed), reason="verify", occurred_at=self._services.clock())
            )
        return events

    async def _look_again(self, batch: Batch) -> None:
        """Release whoever waits for an object that has just got its record; suspend the memberships of one that went."""
        services, event = self._services, batch.event
        appeared = [
            work.object_id
            for work in batch.works
            if work.next_join is not None and work.next_join.is_linked and not (work.join.is_linked and not work.is_new_link)
        ]
        if appeared and not await self._is_bulk(event):
            await services.waiting.release_for(batch.kind, appeared, event.cycle_id)
        suspended = [
            work.object_id
            for work in batch.works
            if batch.kind == "user"
            and work.next_join is not None
            and work.next_join.state in {"suspended", "deleted"}
            and work.outcome is not None
            and work.outcome.name in {"disabled", "deleted", "unchanged"}
            and work.join.state != "suspended"
        ]
        pairs: list[tuple[str, str]] = []
        for user_id in suspended:
            pairs += await services.memberships.of_user(user_id)
        await services.queues.send_all(
            PairsDue(pairs=tuple(part), reason="scope", cycle_id=event.cycle_id) for part in chunks(sorted(pairs))
        )
        await self._did_it_appear_meanwhile(batch)

    async def _is_bulk(self, event: ObjectsChanged | ObjectsSnapshot) -> bool:
        """In the very first full round nobody can wait yet but for this round's own, which are released at its end in bulk."""
        if not isinstance(event, ObjectsSnapshot) or event.kind != "user":
            return False
        return (await self._services.watermarks.get("groups")).generation == 0

    async def _did_it_appear_meanwhile(self, batch: Batch) -> None:
        """Whoever we wait for may have appeared before our escrow was there to be seen."""
        services = self._services
        if isinstance(batch.event, ObjectsSnapshot):
            return  # released in bulk at the end of the round
        waiting = [work for work in batch.works if work.waits and work.outcome is not None and work.outcome.name != "unchanged"]
        for work in waiting:
            objects = [escrow.awaited for escrow in work.waits if escrow.partition.startswith("object-")]
            if any(join.is_linked for join in await services.joins.get_many("user", objects)):
                event = ObjectsChanged(kind=batch.kind, ids=(work.object_id,), reason="released", occurred_at=services.clock())
                await services.queues.send(event, delay=1.0)

    async def _retry(self, batch: Batch, lost: set[str]) -> None:
        """Queue again whoever has to be looked at again, and the one repeat of reads that Graph's replicas may have spoilt."""
        services, event = self._services, batch.event
        at = services.clock()
        delays: dict[float, list[str]] = {}
        for work in batch.works:
            outcome = work.outcome
            if work.object_id in lost:
                delays.setdefault(5.0, []).append(work.object_id)
            elif outcome is not None and isinstance(outcome.error, FateUnknownError) and work.lease is not None:
                delay = (work.lease.until - at).total_seconds() + 1.0
                delays.setdefault(round(delay), []).append(work.object_id)
            elif outcome is not None and outcome.again is not None:
                delays.setdefault(round(outcome.again, 1), []).append(work.object_id)
        gone = isinstance(event, ObjectsChanged) and event.gone
        attempt = event.attempt + 1
        for delay, ids in delays.items():
            again = ObjectsChanged(
                kind=batch.kind,
                ids=tuple(ids),
                reason=event.reason if isinstance(event, ObjectsChanged) and event.reason == "absent" else "retry",
                occurred_at=at,
                gone=gone,
                attempt=attempt,
                cycle_id=event.cycle_id,
            )
            await services.queues.send(again, delay=delay)
        await self._confirm(batch)
        if batch.crossed:
            await services.joins.mark_dirty(batch.kind, batch.crossed)
            check = ObjectsChanged(kind=batch.kind, ids=tuple(batch.crossed), reason="verify", occurred_at=at)
            await services.queues.send(check, delay=_CROSSED)

    async def _confirm(self, batch: Batch) -> None:
        """Repeat a read that began inside the grace once, after it: a replica may have shown the state before the change."""
        event = batch.event
        if not isinstance(event, ObjectsChanged) or event.reason not in {"notification", "delta"}:
            return
        grace = timedelta(seconds=self._services.settings.graph.replication_grace)
        early = [
            work.object_id
            for work in batch.works
            if work.read_at is not None and work.read_at < event.occurred_at + grace and work.join.etag
        ]
        if early and grace:
            delay = (event.occurred_at + grace - self._services.clock()).total_seconds()
            again = replace(event, id=new_id(), ids=tuple(early), reason="confirm")
            await self._services.queues.send(again, delay=max(1.0, delay + 1.0))


def replace_work(work: Work) -> Work:
    """A copy to try a decision on: what it notes and ends does not touch the original."""
    return replace(work, steps=list(work.steps), warnings=[], waits=[], values={})


def _needs_a_read(work: Work) -> bool:
    """A snapshot that would clear something, or lacks what every object has, may be partial: the object itself is asked."""
    raw = work.raw or {}
    name = "userPrincipalName" if work.kind == "user" else "displayName"
    if work.is_snapshot and not raw.get(name):
        return True
    return work.is_snapshot and bool(work.join.hashes)


def _obsolete_escrows(work: Work, join: Join, event: ObjectsChanged | ObjectsSnapshot) -> list[str]:
    """Escrows that the committed state made void."""
    keys = sorted(set(work.join.waits) - set(join.waits))
    settled = work.outcome is not None and work.outcome.name not in {"escrowed", "retried"}
    if settled and (isinstance(event, ObjectsChanged) and event.reason in {"retry", "request"}):
        keys.append(f"{RETRY}/{_waiter(work)}")
    return keys


def _waiter(work: Work) -> str:
    return f"{work.kind}:{work.object_id}"


def _busy_delay(taken: Taken, at: datetime) -> float:
    until = taken.busy_until or at
    return max(_BUSY_LEAST, min(_BUSY_MOST, (until - at).total_seconds() + 0.5))
