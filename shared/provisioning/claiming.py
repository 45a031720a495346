"""One owner for a record: claims before writes, takeovers, and the sys_ids of new records.

A new record carries a sys_id derived from its table and natural key, claimed first. So a replayed create meets its own record,
and two objects with one natural key meet each other's claim, before anything is written.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from shared.errors import AmbiguousMatchError, FateUnknownError, ProvisioningError, RetryableError
from shared.events import PairsDue, chunks
from shared.provisioning.matching import natural_key
from shared.provisioning.work import Outcome
from shared.servicenow.queries import one_of
from shared.servicenow.sys_ids import derived_sys_id
from shared.servicenow.writes import Delete, Insert, Write
from shared.state.owners import Claim, Ownership
from shared.state.tables import Stale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.events import Kind
    from shared.provisioning.batch import Batch
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.state.joins import Join

log = logging.getLogger("provisioning.claiming")

_LOOK_AGAIN = 5.0
#: Stands for the hash of a value that somebody else exported, or may have exported: equal to no value.
FORMER = "former"

type Takeover = Literal["taken", "refused", "busy"]


async def adopt_begun(services: Services, batch: Batch) -> None:
    """A record that a former worker created before it died belongs to its object, whatever has become of that since.

    Without it, somebody who was disabled or deleted meanwhile would look like one who never was provisioned, and his new
    account would stay active.
    """
    table = batch.mapping.table
    for work in batch.open:
        sys_id = batch.begun.get(work.object_id, "")
        if not sys_id or await services.owners.owner(table, sys_id) != work.object_id:
            continue
        if await services.servicenow.get(table, sys_id, ("sys_id",)) is not None:
            batch.adopted[work.object_id] = work.join
            work.join = replace(work.join, sys_id=sys_id, state="linked")
            work.is_new_link = True


async def claim_matches(services: Services, batch: Batch, matched: Sequence[Work]) -> None:
    """Own the records that were matched; a record of another object passes over only if that one has no right to it any more."""
    table = batch.mapping.table
    claims = [Claim(table, work.record["sys_id"], work.object_id) for work in matched if work.record is not None]
    mine: list[tuple[Work, Claim, Ownership]] = []
    for work, claim, present in zip(matched, claims, await services.owners.take(claims), strict=True):
        taken: Takeover = "taken"
        owner, owned = present.owner, present
        if owner != work.object_id:
            taken, owned = await _take_over(services, batch.kind, claim, owner)
        if taken == "taken":
            mine.append((work, claim, owned))
        elif taken == "busy":
            work.end(Outcome("retried", again=_LOOK_AGAIN))
        else:
            error = AmbiguousMatchError(
                f"record {claim.sys_id} of {table} is linked to another Entra object, {owner}",
                code="DuplicateSourceEntries",
                recommended_action="Give the two objects different values of the matching attribute, or remove one link.",
            )
            work.note("EntryImportByJoiningProperty", "matching", "failure", error.reason, errorCode=error.code)
            work.end(Outcome("escrowed", "other", "failure", error))
    there = await _still_there(services, table, [claim.sys_id for _, claim, _ in mine])
    for work, claim, owned in mine:
        if claim.sys_id not in there:
            await services.owners.release(claim)
            work.note("EntryImport", "matching", "warning", f"The matched record {claim.sys_id} is gone from ServiceNow")
            work.end(Outcome("retried", again=_LOOK_AGAIN))
            continue
        work.is_new_link = True
        if owned.former:
            batch.passed[work.object_id] = claim
            await _pass_memberships(services, batch.kind, owned.former)
        # What was exported for the former owner counts as provisioned: where the new one has nothing, it is cleared.
        work.join = replace(work.join, hashes={**dict.fromkeys(owned.exported, FORMER), **work.join.hashes})


async def _still_there(services: Services, table: str, sys_ids: Sequence[str]) -> set[str]:
    """Which records there are: one that was read before it was claimed may have been deleted with its former owner meanwhile."""
    if not sys_ids:
        return set()
    rows = await services.servicenow.select(table, one_of("sys_id", sys_ids), ("sys_id",))
    return {row["sys_id"] for row in rows}


async def _take_over(services: Services, kind: Kind, claim: Claim, former: str) -> tuple[Takeover, Ownership]:
    """A rehire: the record of an object that is deleted, unassigned or gone passes to the new one.

    What was exported for the former owner is noted with the ownership until the new link is committed: his own link ends here,
    and whoever repeats this after a crash would not find it.
    """
    mine = Ownership(claim.object_id)
    join = await services.joins.get(kind, former)
    if join.is_held(services.clock()):
        return "busy", mine
    if join.sys_id == claim.sys_id and join.is_linked:
        return "refused", mine
    try:
        noted = await services.owners.prepare(claim, former, _written_for(join, claim))
        if noted is None:
            return "busy", mine
        if join.sys_id == claim.sys_id:
            await services.joins.retire(join)
        if not await services.owners.move(claim, former):
            return "busy", mine
    except Stale:
        return "busy", mine
    log.warning("record %s passes from %s to %s", claim.sys_id, former, claim.object_id)
    return "taken", replace(noted, owner=claim.object_id)


def _written_for(join: Join, claim: Claim) -> set[str]:
    """The columns of the record that were written for its former owner, or were about to be when his worker died."""
    columns = set(join.hashes) if join.sys_id == claim.sys_id else set()
    if join.intent is not None and (join.sys_id or join.intent.sys_id) == claim.sys_id:
        columns |= set(join.intent.columns)
    return columns


async def _pass_memberships(services: Services, kind: Kind, former: str) -> None:
    """The memberships of the former owner are looked at: their records may be those of the new one now."""
    pairs = await services.memberships.of_user(former) if kind == "user" else []
    await services.queues.send_all(PairsDue(pairs=tuple(part), reason="released") for part in chunks(sorted(pairs)))


async def settle_passed(services: Services, batch: Batch, lost: set[str]) -> None:
    """Forget the former owners of records whose new links are committed."""
    for work in batch.works:
        claim = batch.passed.get(work.object_id)
        if claim is None or work.object_id in lost or work.next_join is None or work.next_join.sys_id != claim.sys_id:
            continue
        if work.outcome is not None and not isinstance(work.outcome.error, FateUnknownError):
            with contextlib.suppress(Stale):
                await services.owners.settle(claim)


async def claim_new(services: Services, batch: Batch, acting: Sequence[tuple[Work, Write]]) -> list[tuple[Work, Write]]:
    """Give each insert its derived sys_id, claimed; works that have to wait for another object end here."""
    table = batch.mapping.table
    inserts = [work for work, write in acting if isinstance(write, Insert)]
    claims = [
        Claim(table, derived_sys_id(table, *natural_key(work, batch.mapping, batch.context)), work.object_id) for work in inserts
    ]
    sys_ids: dict[str, str] = {}
    for work, claim, owner in zip(inserts, claims, await services.owners.claim(claims), strict=True):
        try:
            sys_ids[work.object_id] = await _new_sys_id(services, batch.kind, work, claim, owner)
        except RetryableError as error:
            work.end(Outcome("retried", "create", "failure", error, again=error.retry_after))
    return [
        (work, replace(write, sys_id=sys_ids[work.object_id]) if isinstance(write, Insert) else write)
        for work, write in acting
        if work.is_open
    ]


async def _new_sys_id(services: Services, kind: Kind, work: Work, claim: Claim, owner: str) -> str:
    """The id of the natural key, or a second one if a record of that id has moved on to another key."""
    second = derived_sys_id(claim.table, claim.sys_id, work.object_id)
    if owner == work.object_id:
        occupied = work.join.dirty and await services.servicenow.get(claim.table, claim.sys_id, ("sys_id",)) is not None
        return second if occupied else claim.sys_id
    former = await services.joins.get(kind, owner)
    if former.sys_id == claim.sys_id:
        return second
    if former.is_held(services.clock()):
        raise RetryableError(
            f"another Entra object, {owner}, is being created with the same matching value",
            retry_after=_LOOK_AGAIN,
            code="DuplicateSourceEntries",
        )
    # He never had the record, or has another one by now: nothing is there, or matching would have found it.
    await services.owners.move(claim, owner)
    return claim.sys_id


async def settle_owners(services: Services, batch: Batch, acting: Sequence[tuple[Work, Write]]) -> None:
    """A record that got another id than the one claimed is claimed under its own."""
    table = batch.mapping.table
    for work, write in acting:
        if isinstance(write, Insert) and work.next_join is not None and work.next_join.sys_id not in {"", write.sys_id}:
            await services.owners.claim([Claim(table, work.next_join.sys_id, work.object_id)])


async def drop_disowned(services: Services, batch: Batch, acting: Sequence[tuple[Work, Write]]) -> list[tuple[Work, Write]]:
    """The writes without those deletes whose record has passed to another object meanwhile: its link simply ends."""
    table = batch.mapping.table
    doomed = [(work, write.sys_id) for work, write in acting if isinstance(write, Delete)]
    owners = await services.owners.owners(table, [sys_id for _, sys_id in doomed])
    for work, sys_id in doomed:
        owner = owners.get(sys_id, work.object_id)
        if owner != work.object_id:
            text = f"The record {sys_id} belongs to another Entra object by now, {owner}, and is left alone"
            work.note("EntrySynchronizationSkip", "export", "skipped", text, SkipReason="RecordPassedOn")
            work.next_join = replace(work.join, sys_id="", state="retired", hashes={}, fingerprint="", dirty=False)
            work.end(Outcome("skipped", "other", "skipped", detail="RecordPassedOn"))
    return [(work, write) for work, write in acting if work.is_open]


async def release_deleted(services: Services, batch: Batch, lost: set[str]) -> None:
    """Give up the records that were deleted; after the commit, or a replay would delete what has come in their place."""
    for work in batch.works:
        if work.outcome is not None and work.outcome.name == "deleted" and work.object_id not in lost:
            await services.owners.release(Claim(batch.mapping.table, work.join.sys_id, work.object_id))


async def lost_record(services: Services, batch: Batch, work: Work) -> None:
    """A linked record that is not there any more: match again, or hold.

    A control question comes first, because a lost permission looks the same.
    """
    await services.target.prove_absence(batch.mapping)
    work.note("EntryImport", "matching", "warning", f"The linked record {work.join.sys_id} is gone from ServiceNow")
    if batch.mapping.options.recreate_missing == "hold" or batch.verdicts[work.object_id].state != "linked":
        error = ProvisioningError(
            f"the linked record {work.join.sys_id} is gone from ServiceNow or hidden from the integration user",
            code="InvalidAnchor",
            recommended_action="Restore the record, or remove the link (DELETE /api/links) so that it is matched again.",
        )
        work.end(Outcome("escrowed", "other", "failure", error))
        return
    await services.owners.release(Claim(batch.mapping.table, work.join.sys_id, work.object_id))
    work.join = replace(work.join, sys_id="", hashes={}, fingerprint="")
    work.has_lost_record = True
