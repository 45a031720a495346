"""Users and groups through the five steps: import, scope, match, resolve, export.

The unit of work is a chunk: the objects of one message. Each succeeds or fails alone. The order of a write is fixed, because
each step is what makes a crash before the next one harmless:

lease → read Graph → decide → intent → send (only while the lease outlasts the request) → escrows and log → the join, as the
commit mark → release whoever waits for this object.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.errors import CredentialsError, FateUnknownError, ProvisioningError, RetryableError
from shared.events import ObjectsChanged, ObjectsSnapshot, new_id
from shared.graph.objects import Failed, Missing, Present, SoftDeleted, read_objects
from shared.provisioning.app_roles import follow_app_roles
from shared.provisioning.batch import Batch
from shared.provisioning.claiming import FORMER, adopt_begun, claim_matches, claim_new, drop_disowned, lost_record, settle_owners
from shared.provisioning.committing import finish
from shared.provisioning.deciding import Circumstances, decide, display_name, fingerprint
from shared.provisioning.exporting import account, adds_to_record, plan
from shared.provisioning.fitting import Columns
from shared.provisioning.matching import PROTECTION, match
from shared.provisioning.resolving import resolve
from shared.provisioning.summary import change_id
from shared.provisioning.unique import choose_unique
from shared.provisioning.work import Outcome, Work
from shared.schema.expressions import EvaluationContext
from shared.servicenow.writes import Insert
from shared.state.leases import LEASE_MARGIN, Intent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.events import Kind
    from shared.provisioning.deciding import Verdict
    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping
    from shared.servicenow.writes import Write
    from shared.state.joins import Join
    from shared.state.leases import Lease, Taken

#: How soon an object that somebody else holds is looked at again, in seconds, at the least and at the most.
_BUSY_LEAST, _BUSY_MOST = 1.0, 30.0
#: How soon it is looked at again when assignments could not be read, in seconds.
_UNJUDGED = 30.0
#: Columns that decisions rest on whether or not the mapping names them.
_ALWAYS_READ = ("active", "locked_out", "sys_created_on", *PROTECTION)


class Objects:
    """Take the objects of an event to their ends."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def process(self, event: ObjectsChanged | ObjectsSnapshot) -> Batch | None:
        """Process one message. Raises what concerns all of its objects; what concerns one ends with that one.

        Returns the objects with their outcomes; None when the schema does not provision this kind.
        """
        mapping = self._services.mapping(event.kind)
        if mapping is None:
            return None
        batch = await self._batch(event, mapping)
        if isinstance(event, ObjectsSnapshot) and _is_of(event, mapping):
            await self._skip_unchanged(batch, event)
        await self._lease(batch)
        try:
            await self._steps(batch)
        except (RetryableError, CredentialsError):
            await self._give_back(batch, batch.works)
            raise
        except ProvisioningError as error:
            for work in batch.open:
                work.note("EntryExport", "export", "failure", error.reason, errorCode=error.code)
                work.end(Outcome("escrowed", "other", "failure", error))
        except BaseException:
            # Stopped in the middle: what was announced may be on its way to ServiceNow, and is nobody's until it must be over.
            await self._give_back(batch, [work for work in batch.works if work.object_id not in batch.announced])
            raise
        try:
            await finish(self._services, batch)
        except RetryableError:
            # Storage was away for a moment: the message comes again soon, and should not have to wait for its own leases.
            if not batch.is_committed:
                await self._give_back(batch, batch.works)
            raise
        return batch

    async def judge(self, kind: Kind, ids: Sequence[str]) -> Batch | None:
        """What should become of these objects by the present truth: read from Graph, scoped and resolved, nothing done.

        Works that something keeps from being judged have an outcome. None when the schema does not provision this kind.
        """
        mapping = self._services.mapping(kind)
        if mapping is None:
            return None
        event = ObjectsChanged(kind=kind, ids=tuple(ids), reason="verify", occurred_at=self._services.clock())
        batch = await self._batch(event, mapping)
        await self._import(batch)
        await self._scope(batch)
        await resolve(self._services, batch.decided, mapping)
        for work in batch.decided:
            work.fingerprint = fingerprint(work, batch.verdicts[work.object_id], self._services.mappings.version)
        return batch

    async def _batch(self, event: ObjectsChanged | ObjectsSnapshot, mapping: ObjectMapping) -> Batch:
        services = self._services
        started = services.clock()
        raws: dict[str, dict[str, Any]] = {}
        if isinstance(event, ObjectsSnapshot):
            raws = {str(item["id"]): item for item in event.items}
        ids = list(raws) or list(dict.fromkeys(event.ids if isinstance(event, ObjectsChanged) else ()))
        works = []
        for object_id, join in zip(ids, await services.joins.get_many(event.kind, ids), strict=True):
            work = Work(event.kind, object_id, change_id(event.id, object_id), join, display=object_id)
            if isinstance(event, ObjectsSnapshot) and _is_of(event, mapping):
                work.raw, work.read_at, work.presence = raws[object_id], event.read_at, "present"
                work.display = display_name(work.raw, object_id)
                work.note("EntryImportAdd", "import", "success", f"Received {work.noun} '{work.display}' from Microsoft Entra ID")
            elif isinstance(event, ObjectsChanged) and self._is_covered(event, join):
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

    async def _skip_unchanged(self, batch: Batch, event: ObjectsSnapshot) -> None:
        """End what needs nothing, without a lease: as it was exported, older than what was, or nobody of ours at all.

        The decision is tried on copies, because a snapshot is not yet under the lease. Where it would clear something, the
        snapshot may be partial: such an object is read by itself.
        """
        services = self._services
        settled: list[Join] = []
        for work in batch.works:
            if _is_older(event, work.join) and not work.join.dirty:
                work.end(Outcome("covered"))
                settled.append(work.join)
        trials = {work.object_id: replace(work, steps=list(work.steps), warnings=[], waits=[], values={}) for work in batch.open}
        trial = replace(batch, works=list(trials.values()), verdicts={})
        await self._scope(trial)
        batch.roles, batch.member_of = trial.roles, trial.member_of
        await resolve(services, [work for work in trial.decided if work.join.fingerprint], batch.mapping)
        for work in batch.open:
            tried, join = trials[work.object_id], work.join
            verdict = trial.verdicts.get(work.object_id)
            if _is_older(event, join):
                # A doubt, whose worker may not have lived to queue the look that ends it.
                work.presence = "unread"
                continue
            if verdict is None:
                nobody = not join.sys_id and join.intent is None
                if nobody and tried.outcome is not None and tried.outcome.name == "skipped":
                    work.steps, work.outcome, work.reason = tried.steps, tried.outcome, tried.reason
                continue
            clean = tried.is_open and not join.dirty and join.intent is None and not join.held
            if clean and self._is_left_to_the_end(verdict, join):
                work.end(Outcome("postponed"))
            elif clean and join.fingerprint == fingerprint(tried, verdict, batch.mapping.version):
                work.end(Outcome("unchanged"))
                settled.append(join)
            elif _is_partial(work, tried):
                work.presence = "unread"
        await self._mark_seen(batch, settled, event.generation)

    async def _mark_seen(self, batch: Batch, settled: Sequence[Join], generation: int) -> None:
        missed = await self._services.joins.mark_seen(settled, generation)
        for work in batch.works:
            if work.object_id in missed:
                # Somebody is about him: unmarked, he would look like one whom the round did not name.
                work.outcome = Outcome("retried", again=_BUSY_LEAST)

    def _is_left_to_the_end(self, verdict: Verdict, join: Join) -> bool:
        """Who falls out of scope in a full round counts as one whom it did not name, until it is known how many they are."""
        leaves = verdict.state == "unmanaged" and not verdict.action.nothing and join.state == "linked"
        return leaves and not self._services.guard.lets_all_through

    async def _lease(self, batch: Batch) -> None:
        """Take the leases; objects that somebody else holds end here and come back."""
        services = self._services
        works = batch.open
        taken = await services.joins.take([work.join for work in works], new_id())
        at = services.clock()
        for work, (join, outcome) in zip(works, taken, strict=True):
            if outcome.lease is None:
                work.end(Outcome("retried", again=_busy_delay(outcome, at, batch.event.attempt)))
                continue
            work.join, work.lease = join, outcome.lease
            work.has_lost_record = join.has_lost_record
            if join.lease_holder or join.intent is not None:
                batch.inherited.add(work.object_id)
            if isinstance(batch.event, ObjectsChanged) and batch.event.reason == "request":
                # An operator asks what is there now: nothing that was remembered is believed.
                work.join = replace(join, dirty=True)
            if join.intent is not None:
                # The former holder may have sent its request. The lease outlasts every request, so its end is settled by now.
                hashes = {**dict.fromkeys(join.intent.columns, FORMER), **join.hashes}
                work.join = replace(join, dirty=True, intent=None, hashes=hashes)
                batch.crossed[work.object_id] = join.intent
                if join.intent.sys_id and not join.sys_id:
                    batch.begun[work.object_id] = join.intent.sys_id

    async def _steps(self, batch: Batch) -> None:
        await adopt_begun(self._services, batch)
        await self._import(batch)
        await self._scope(batch)
        await resolve(self._services, batch.decided, batch.mapping)
        self._compare_fingerprints(batch)
        decided = batch.decided
        if decided:
            await self._read_target(batch)
            await self._export(batch)
            await follow_app_roles(self._services, batch, decided)

    async def _import(self, batch: Batch) -> None:
        """Read what a snapshot does not bring, or may not decide alone."""
        event = batch.event
        unread = [work for work in batch.open if work.presence == "unread"]
        if not unread:
            return
        reads = await read_objects(self._services.graph, batch.kind, [work.object_id for work in unread], batch.mapping.select)
        gone = isinstance(event, ObjectsChanged) and event.gone
        for work in unread:
            match reads[work.object_id]:
                case Present(raw=raw, read_at=read_at):
                    work.raw, work.read_at, work.presence = raw, read_at, "present"
                case SoftDeleted(raw=raw, read_at=read_at):
                    work.raw, work.read_at, work.presence = raw, read_at, "softDeleted"
                case Missing(read_at=read_at):
                    # Once Graph has said that it is gone for good, it is: no id is given twice.
                    former = batch.adopted.get(work.object_id, work.join)
                    work.read_at, work.presence = read_at, "gone" if gone or former.state == "gone" else "unknown"
                case Failed(error=error):
                    _read_failed(work, error)
                    continue
            work.display = display_name(work.raw, work.object_id)
            description = f"Retrieved {work.noun} '{work.display}' from Microsoft Entra ID"
            work.note("EntryImport", "import", "success", description, objectId=work.object_id, presence=work.presence)

    async def _scope(self, batch: Batch) -> None:
        event = batch.event
        if batch.roles is None:
            batch.roles = await self._services.assigned.roles(batch.kind, [work.object_id for work in batch.open])
        if batch.member_of is None:
            batch.member_of = await self._services.member_filters.of_batch(batch)
        for work in batch.open:
            if batch.roles is None:
                reason = "the assignments could not be read completely yet, so nobody can be judged"
                error = RetryableError(reason, retry_after=_UNJUDGED)
                work.end(Outcome("retried", "other", "failure", error, again=_UNJUDGED))
                continue
            circumstances = Circumstances(
                roles=batch.roles.get(work.object_id),
                gone=isinstance(event, ObjectsChanged) and event.gone,
                absent=isinstance(event, ObjectsChanged) and event.reason == "absent",
                now=batch.started,
                member_of=batch.member_of.get(work.object_id, ()),
            )
            verdict = decide(work, batch.mapping, circumstances, batch.context)
            if verdict is not None:
                batch.verdicts[work.object_id] = verdict

    def _compare_fingerprints(self, batch: Batch) -> None:
        """An equal fingerprint ends an event without touching ServiceNow."""
        for work in batch.decided:
            work.fingerprint = fingerprint(work, batch.verdicts[work.object_id], batch.mapping.version)
            if work.join.fingerprint == work.fingerprint and not work.join.dirty:
                work.next_join = work.join
                work.end(Outcome("unchanged"))

    async def _read_target(self, batch: Batch) -> None:
        """Match who has no link, and read the records of dirty links."""
        services, mapping = self._services, batch.mapping
        fields = await services.target.readable_columns(mapping, _ALWAYS_READ)
        linked = [work for work in batch.decided if work.join.sys_id and work.decision != "delete"]
        dirty = [work for work in linked if work.join.dirty or adds_to_record(work, mapping)]
        for work in dirty:
            work.record = await services.servicenow.get(mapping.table, work.join.sys_id, fields)
            if work.record is None:
                await lost_record(services, batch, work)
            else:
                description = f"Retrieved {work.noun} '{work.display}' from ServiceNow by its link"
                work.note("EntryImport", "matching", "success", description, sys_id=work.join.sys_id)
        unlinked = [work for work in batch.decided if not work.join.sys_id and work.record is None]
        if unlinked:
            await match(services, unlinked, mapping, fields, batch.context)
            await claim_matches(services, batch, [work for work in unlinked if work.is_open and work.record is not None])

    async def _export(self, batch: Batch) -> None:
        services, mapping = self._services, batch.mapping
        await choose_unique(services, batch)
        columns = Columns(await services.target.dictionary(mapping.table), await services.target.missing_columns(mapping))
        acting: list[tuple[Work, Write]] = []
        for work in batch.decided:
            verdict = batch.verdicts[work.object_id]
            write = plan(work, mapping, verdict, columns)
            if write is not None:
                acting.append((work, write))
            elif work.is_open:
                account(work, mapping, verdict, None, None)
        acting = await services.guard.admit(batch, await drop_disowned(services, batch, acting))
        acting = await self._announce(batch, await claim_new(services, batch, acting))
        if not acting:
            return
        until = min(work.lease.until for work, _ in acting if work.lease is not None).timestamp() - LEASE_MARGIN
        outcomes = await services.servicenow.write([write for _, write in acting], deadline=until)
        for (work, write), outcome in zip(acting, outcomes, strict=True):
            account(work, mapping, batch.verdicts[work.object_id], write, outcome)
        await settle_owners(services, batch, acting)

    async def _announce(self, batch: Batch, acting: Sequence[tuple[Work, Write]]) -> list[tuple[Work, Write]]:
        """Write the intents; objects whose lease was lost end here."""
        announced: list[tuple[Join, Lease]] = []
        for work, write in acting:
            if work.lease is not None:
                created = write.sys_id if isinstance(write, Insert) else batch.begun.get(work.object_id)
                intent = Intent(type(write).__name__, work.change_id, work.lease.until, created or "", tuple(work.changes))
                batch.announced[work.object_id] = intent
                announced.append((replace(batch.unfinished(work), intent=intent), work.lease))
        result: list[tuple[Work, Write]] = []
        leases = await self._services.joins.write(announced, keep=True)
        for (work, write), lease in zip(acting, leases, strict=True):
            work.lease = lease
            if lease is None:
                work.end(Outcome("retried", again=_BUSY_LEAST))
            else:
                work.join = replace(work.join, etag=lease.etag, intent=None)
                result.append((work, write))
        return result

    async def _give_back(self, batch: Batch, works: Sequence[Work]) -> None:
        """The chunk failed before its end: leases are returned, except where a request may be under way.

        What was written, by us or by a former worker, is in no log yet, nor in the join: the intents stand, and say so to
        whoever comes next.
        """
        intents = batch.crossed | batch.announced
        joins = [
            (
                replace(batch.unfinished(work), dirty=work.join.dirty or bool(work.changes), intent=intents.get(work.object_id)),
                work.lease,
            )
            for work in works
            if work.lease is not None and not isinstance(_error(work), FateUnknownError)
        ]
        await self._services.joins.write(joins, keep=False)


def _is_of(event: ObjectsSnapshot, mapping: ObjectMapping) -> bool:
    """Whether a snapshot has what the mapping reads: one that was taken under another schema may lack attributes."""
    return event.schema in {"", mapping.version}


def _read_failed(work: Work, error: ProvisioningError) -> None:
    work.note("EntryImport", "import", "failure", error.reason, errorCode=error.code)
    if isinstance(error, RetryableError):
        work.end(Outcome("retried", "other", "failure", error, again=error.retry_after or 2.0))
    else:
        work.end(Outcome("escrowed", "other", "failure", error))


def _is_older(event: ObjectsSnapshot, join: Join) -> bool:
    """Whether the object was read after the page was, and decided on by that."""
    return join.read_at is not None and join.read_at > event.read_at


def _is_partial(work: Work, tried: Work) -> bool:
    """Whether a snapshot lacks what every object has, or would clear what was exported: then it may not be the whole object."""
    raw = work.raw or {}
    if not raw.get("userPrincipalName" if work.kind == "user" else "displayName"):
        return True
    return any(value is None and column in work.join.hashes for column, value in tried.values.items())


def _error(work: Work) -> ProvisioningError | None:
    return work.outcome.error if work.outcome is not None else None


def _busy_delay(taken: Taken, at: datetime, attempt: int) -> float:
    """Soon at first, because whoever holds a lease is mostly done in a moment; then less often, because he may have died."""
    until = taken.busy_until or at
    rest = (until - at).total_seconds() + 0.5
    return max(_BUSY_LEAST, min(_BUSY_MOST, _BUSY_LEAST * (1 << min(attempt, 5)), rest))
