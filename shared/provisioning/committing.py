"""The end of a message: escrows and log first, then the joins as the commit mark, then whoever has to look next.

Everything here may run twice: keys are deterministic, and an event too many finds nothing to do.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import FateUnknownError
from shared.events import ObjectsChanged, ObjectsSnapshot, new_id
from shared.provisioning.backoff import retry_delay
from shared.provisioning.claiming import release_deleted, settle_passed
from shared.provisioning.following import AFTERWARDS, follow, follow_ups, without
from shared.provisioning.page_events import chunk_key, rest_part
from shared.provisioning.summary import summarize
from shared.state.escrows import RETRY
from shared.state.log import LogEntry
from shared.state.progress import round_key

if TYPE_CHECKING:
    from shared.provisioning.batch import Batch
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.state.joins import Join
    from shared.state.leases import Lease

log = logging.getLogger("provisioning.outcomes")

#: Outcomes that are counted but not logged one by one; unless a former worker may have written, and died before it said so.
_QUIET = frozenset({"unchanged", "covered", "postponed"})
#: An object whose lease was lost is looked at again after this time, in seconds.
_LOST = 5.0
#: After a lease was taken over together with an intent, the record is compared once more, in seconds: the former holder may
#: have been stopped right before it sent its request, and have sent it since.
_CROSSED = 60.0


async def finish(services: Services, batch: Batch) -> None:
    """Make the outcomes of a batch durable, and queue what follows from them."""
    await _write_escrows(services, batch)
    await _look_again(services, batch)
    await _write_log(services, batch)
    await _check_crossed(services, batch)
    following = await follow_ups(services, batch)
    if following is not None:
        # Before the commit, because we may die right after it.
        await services.queues.send(following, delay=AFTERWARDS)
    lost = await _commit(services, batch)
    await release_deleted(services, batch, lost)
    await settle_passed(services, batch, lost)
    if following is not None:
        await follow(services, without(following, lost))
    await _queue_again(services, batch, lost)
    await _confirm(services, batch)
    counts: Counter[str] = Counter(work.outcome.name for work in batch.works if work.outcome is not None)
    took = (services.clock() - batch.started).total_seconds()
    shown = ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
    log.info("%ss: %s; in %.1f s", batch.kind, shown, took)
    if isinstance(batch.event, ObjectsSnapshot):
        chain = "users" if batch.kind == "user" else "groups"
        key = round_key(chain, batch.event.generation)
        # What comes again is counted when it is done.
        again = counts.pop("retried", 0)
        await services.progress.done(key, chunk_key(batch.event), len(batch.works) - again, counts)


async def _write_escrows(services: Services, batch: Batch) -> None:
    """What waits for something, and what failed and is tried again later."""
    await services.escrows.write([escrow for work in batch.works if not _waits_already(work) for escrow in work.waits])
    for work in batch.works:
        if work.outcome is not None and work.outcome.name == "escrowed" and work.outcome.error is not None and not work.waits:
            evidence = work.evidence if work.decision != "nothing" else ""
            await services.waiting.retry_later(_waiter(work), work.outcome.error, evidence=evidence)


async def _write_log(services: Services, batch: Batch) -> None:
    ended = services.clock()
    # What a snapshot settled without a lease is entered at the moment of the snapshot: a replay writes the same row again.
    read_at = batch.event.read_at if isinstance(batch.event, ObjectsSnapshot) else ended
    context = replace(services.log_context(batch.event.cycle_id), schema_version=batch.mapping.version)
    entries = [
        LogEntry(
            at := ended if work.lease is not None else read_at,
            work.change_id,
            work.object_id,
            summarize(work, context, batch.started, at),
            replayed=work.object_id in batch.inherited,
            # That what a former worker created is as it should be adds nothing to his own entry.
            quiet=work.outcome.name in _QUIET or (work.outcome.detail == "RedundantExport" and work.object_id in batch.adopted),
        )
        for work in batch.works
        if work.outcome is not None
        and (work.outcome.name not in _QUIET or work.object_id in batch.crossed)
        and (work.outcome.error is not None or work.outcome.name != "retried")
        and work.outcome.detail != "StillStaged"
    ]
    await services.log.write(entries)


async def _commit(services: Services, batch: Batch) -> set[str]:
    """Write the joins and give the leases back; returns the objects whose lease was lost meanwhile.

    An object whose write has an unknown fate keeps its lease and its intent: whoever takes over compares before it believes.
    """
    event = batch.event
    pairs: list[tuple[Work, Join, Lease]] = []
    for work in batch.works:
        if work.lease is None or work.outcome is None or isinstance(work.outcome.error, FateUnknownError):
            continue
        join = work.next_join or (batch.unfinished(work) if _is(work, "retried") else work.join)
        join = replace(join, intent=None, etag=work.lease.etag)
        if work.outcome.name != "retried" and work.read_at is not None:
            join = replace(join, read_at=work.read_at, schema=batch.mapping.version)
            if work.presence == "present":
                join = replace(join, present_at=work.read_at)
        if isinstance(event, ObjectsSnapshot):
            join = replace(join, generation=max(join.generation, event.generation))
        if work.object_id in batch.crossed:
            join = replace(join, dirty=True, intent=batch.crossed[work.object_id] if _is(work, "retried") else None)
        if work.presence == "gone" and join.dirty and not join.sys_id:
            # A former worker may still create his record, and by then nobody would say again that he is gone.
            join = replace(join, state="gone")
        if _is_freed(work):
            join = replace(join, held=False)
        pairs.append((work, join, work.lease))
    # Before the commit: after a crash in between, whoever still waits is looked at again and waits anew. After it, the escrows
    # of what is settled would be left for good.
    orphans = await _orphans(services, batch)
    await services.escrows.remove([*orphans, *(key for work, join, _ in pairs for key in _obsolete_escrows(work, join, batch))])
    results = await services.joins.write([(join, lease) for _, join, lease in pairs], keep=False, left=batch.announced)
    batch.is_committed = True
    lost = {work.object_id for (work, _, _), result in zip(pairs, results, strict=True) if result is None}
    await _forget_staged(services, batch, lost)
    return lost


async def _forget_staged(services: Services, batch: Batch, lost: set[str]) -> None:
    """Whatever was held about an object is done, or is no longer to be done."""
    freed = [work for work in batch.works if work.object_id not in lost and _is_freed(work)]
    await services.guard.staged.forget([_waiter(work) for work in freed if work.join.held])
    if isinstance(batch.event, ObjectsChanged) and batch.event.reason in {"absent", "released", "scope"}:
        # What a round held as a whole is known to the guard alone.
        await services.guard.forget(_waiter(work) for work in freed if not work.join.held)


def _is_freed(work: Work) -> bool:
    """Whether the object was looked at to the end, and nothing of it is held."""
    outcome = work.outcome
    if work.lease is None or outcome is None or outcome.detail == "RejectedByOperator":
        return False
    if work.presence == "unknown" and outcome.name == "skipped":
        return False  # without evidence nothing is known
    return outcome.name not in {"staged", "escrowed", "retried", "covered"}


async def _look_again(services: Services, batch: Batch) -> None:
    """Whoever is waited for may have appeared before our escrow was there to be seen.

    Before the commit, after which the same message may find its objects covered.
    """
    if isinstance(batch.event, ObjectsSnapshot):
        return  # released in bulk at the end of the round
    for work in batch.works:
        awaited = [escrow.awaited for escrow in work.waits if escrow.partition.startswith("object-")]
        if awaited and not _waits_already(work):
            joins = await services.joins.get_many("user", awaited)
            if any(join.is_linked for join in joins):
                at = services.clock()
                again = ObjectsChanged(kind=batch.kind, ids=(work.object_id,), reason="released", occurred_at=at)
                await services.queues.send(again, delay=1.0)


async def _queue_again(services: Services, batch: Batch, lost: set[str]) -> None:
    """Queue the objects that have to be looked at again, grouped by when."""
    event, at = batch.event, services.clock()
    delays: dict[float, list[str]] = {}
    patience = retry_delay(event.attempt, None)
    for work in batch.works:
        outcome = work.outcome
        if work.object_id in lost:
            delays.setdefault(_LOST, []).append(work.object_id)
        elif outcome is not None and isinstance(outcome.error, FateUnknownError) and work.lease is not None:
            delays.setdefault(round((work.lease.until - at).total_seconds() + 1.0), []).append(work.object_id)
        elif outcome is not None and outcome.again is not None:
            # What failed comes back at growing intervals; what is merely held by somebody else, when he is done.
            wish = outcome.again if outcome.error is None or outcome.again < 1 else max(outcome.again, patience)
            delays.setdefault(round(wish, 1), []).append(work.object_id)
    if isinstance(event, ObjectsSnapshot):
        await _queue_rest(services, event, delays)
        delays = {}
    absent = isinstance(event, ObjectsChanged) and event.reason == "absent"
    for delay, ids in delays.items():
        again = ObjectsChanged(
            kind=batch.kind,
            ids=tuple(ids),
            reason="absent" if absent else "retry",
            occurred_at=at,
            gone=isinstance(event, ObjectsChanged) and event.gone,
            attempt=event.attempt + 1,
            cycle_id=event.cycle_id,
        )
        await services.queues.send(again, delay=delay)


async def _check_crossed(services: Services, batch: Batch) -> None:
    """Compare what a former worker may still write to. Before the commit: after it, the same message finds it covered."""
    crossed = [work.object_id for work in batch.works if work.object_id in batch.crossed and not _is(work, "retried")]
    if crossed:
        check = ObjectsChanged(kind=batch.kind, ids=tuple(crossed), reason="verify", occurred_at=services.clock())
        await services.queues.send(check, delay=_CROSSED)


async def _queue_rest(services: Services, event: ObjectsSnapshot, delays: dict[float, list[str]]) -> None:
    """The objects of a full round that are not done come again as what they are: the round waits for them."""
    rests = [
        replace(
            event,
            id=new_id(),
            attempt=event.attempt + 1,
            part=rest_part(event, ids),
            items=tuple(item for item in event.items if str(item["id"]) in set(ids)),
        )
        for ids in delays.values()
    ]
    for rest, delay in zip(rests, delays, strict=True):
        await services.queues.send(rest, delay=delay)
    # Only now: a round would wait for ever for what a crash kept from being queued. The whole is not done yet, so it still waits.
    chain = "users" if event.kind == "user" else "groups"
    await services.progress.announce(round_key(chain, event.generation), [(chunk_key(rest), len(rest.items)) for rest in rests])


async def _confirm(services: Services, batch: Batch) -> None:
    """Repeat a read that began inside the grace once, after it: a replica may have shown the state before the change."""
    event = batch.event
    grace = services.settings.graph.replication_grace
    if not isinstance(event, ObjectsChanged) or event.reason not in {"notification", "delta"} or not grace:
        return
    agreed = event.occurred_at + timedelta(seconds=grace)
    early = [
        work.object_id for work in batch.works if work.read_at is not None and work.read_at < agreed and work.lease is not None
    ]
    if early:
        again = replace(event, id=new_id(), ids=tuple(early), reason="confirm", attempt=0)
        delay = (agreed - services.clock()).total_seconds() + 1.0
        await services.queues.send(again, delay=max(1.0, delay))


def _waits_already(work: Work) -> bool:
    """Whether an earlier commit has left the escrows; a doubtful row may be one whose worker died before it wrote them.

    That nothing had to be written does not tell: a new manager who is not provisioned yet is a wait, and no write.
    """
    known = {escrow.key for escrow in work.waits} <= set(work.join.waits)
    return known and _is(work, "unchanged") and not work.join.dirty


def _is(work: Work, name: str) -> bool:
    return work.outcome is not None and work.outcome.name == name


def _obsolete_escrows(work: Work, join: Join, batch: Batch) -> list[str]:
    """Escrows that the committed state made void."""
    keys = sorted(set(work.join.waits) - set(join.waits))
    settled = work.outcome is not None and work.outcome.name not in {"escrowed", "retried"}
    if settled and isinstance(batch.event, ObjectsChanged) and batch.event.reason in {"retry", "request"}:
        keys.append(f"{RETRY}/{_waiter(work)}")
    return keys


async def _orphans(services: Services, batch: Batch) -> list[str]:
    """Escrows of former workers who died, or lost their lease, before the commit that would have remembered them.

    Nobody else would remove them.
    """
    settled = {
        _waiter(work): {escrow.key for escrow in work.waits}
        for work in batch.works
        if (work.object_id in batch.inherited or (work.join.dirty and isinstance(batch.event, ObjectsChanged)))
        and work.outcome is not None
        and not _is(work, "retried")
    }
    if not settled:
        return []
    return [escrow.key for escrow in await services.escrows.of_waiters(settled) if escrow.key not in settled[escrow.waiter]]


def _waiter(work: Work) -> str:
    return f"{work.kind}:{work.object_id}"
