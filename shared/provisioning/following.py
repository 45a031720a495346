"""What a committed change of one object means for others: whoever waited for it, its memberships, its reports.

A worker may die right after the commit. So the follow-ups are queued *before* it, delayed until it is certainly over, and
carried out at once after it as well: what was done already finds nothing to do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import NotFoundError
from shared.events import (
    Event,
    FollowUpsDue,
    GroupMembersDue,
    ObjectsChanged,
    ObjectsSnapshot,
    PairsDue,
    ReportsDue,
    UserMembershipsDue,
    chunks,
)
from shared.graph.objects import direct_reports
from shared.provisioning.backoff import retry_delay
from shared.servicenow.queries import equals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.events import Kind
    from shared.provisioning.batch import Batch
    from shared.provisioning.services import Services

#: How long after the commit the safety copy is seen, in seconds; also how long a cached link may be believed (``links``).
AFTERWARDS = 12.0
#: How often a manager whom Graph does not find is asked for again.
_REPLICA_PATIENCE = 3
_LINKED = frozenset({"linked", "disabled"})
_AWAY = frozenset({"suspended", "unmanaged", "deleted", "retired"})
_USERS = "sys_user"


async def follow_ups(services: Services, batch: Batch) -> FollowUpsDue | None:
    """What will follow from the outcomes of a batch; None when nothing does."""
    appeared, returned, gone, bare, remade = [], [], [], [], []
    for work in batch.works:
        # What a former worker created is linked with whatever comes of the rest.
        is_adopted = work.object_id in batch.adopted and work.outcome is not None and work.outcome.name != "retried"
        committed = work.next_join or (work.join if is_adopted else None)
        if committed is None:
            continue
        before, after = work.join.state, committed.state
        if committed.is_linked and (work.is_new_link or not work.join.is_linked):
            appeared.append(work.object_id)
            if work.has_lost_record:
                remade.append(work.object_id)
        stripped = (work.join.stripped, committed.stripped)
        if batch.kind == "user" and after in _LINKED and (before in _AWAY or stripped == (True, False)):
            returned.append(work.object_id)
        if before != after and (after == "deleted" or (batch.kind == "user" and after == "suspended")):
            gone.append(work.object_id)
        elif batch.kind == "user" and stripped == (False, True):
            bare.append(work.object_id)
    if appeared and await _is_first_round(services, batch):
        appeared = []
    if not (appeared or returned or gone or bare or remade):
        return None
    return FollowUpsDue(
        kind=batch.kind,
        appeared=tuple(appeared),
        returned=tuple(returned),
        gone_ids=(*gone, *bare),
        sys_ids=tuple(work.join.sys_id for work in batch.works if batch.kind == "user" and work.object_id in set(gone)),
        remade=tuple(remade),
        cycle_id=batch.event.cycle_id,
    )


async def follow(services: Services, event: FollowUpsDue) -> None:
    """Queue what follows. Whether it still has to be done is decided by whoever processes it."""
    events: list[Event] = []
    for each in event.remade:
        # What referred to the lost record went with it, also where the new one has the same sys_id.
        await doubt_memberships(services, event.kind, each)
    if event.kind == "user":
        # A replica may not know the latest of his people yet.
        reports = [ReportsDue(manager_id=each, cycle_id=event.cycle_id, doubt=True) for each in event.remade]
        await services.queues.send_all(reports, delay=services.settings.graph.replication_grace)
    if event.kind == "group":
        events += [GroupMembersDue(group_id=each, reason="released", cycle_id=event.cycle_id) for each in event.appeared]
        # ServiceNow takes the memberships along with a record, but not one that was on its way at that moment.
        events += [GroupMembersDue(group_id=each, reason="scope", cycle_id=event.cycle_id) for each in event.gone_ids]
    for each in event.returned:
        events += [
            UserMembershipsDue(user_id=each, reason="released", cycle_id=event.cycle_id),
            ReportsDue(manager_id=each, cycle_id=event.cycle_id),
        ]
    await services.waiting.release_for(event.kind, event.appeared, event.cycle_id)
    pairs: list[tuple[str, str]] = []
    for user_id in event.gone_ids if event.kind == "user" else ():
        # A soft-deleted user leaves the groups delta untouched: his memberships are looked at now.
        pairs += await services.memberships.of_user(user_id)
    events += [PairsDue(pairs=tuple(part), reason="scope", cycle_id=event.cycle_id) for part in chunks(sorted(pairs))]
    events += await _reports(services, event.sys_ids, event.cycle_id)
    await services.queues.send_all(events)


def without(event: FollowUpsDue, lost: set[str]) -> FollowUpsDue:
    """The same without the objects whose commit was lost."""
    return replace(
        event,
        appeared=tuple(each for each in event.appeared if each not in lost),
        returned=tuple(each for each in event.returned if each not in lost),
        gone_ids=tuple(each for each in event.gone_ids if each not in lost),
        remade=tuple(each for each in event.remade if each not in lost),
    )


async def doubt_memberships(services: Services, kind: Kind, object_id: str) -> None:
    """Nothing remembered of the membership records of a user or a group is believed: each is asked for when it is looked at."""
    memberships = services.memberships
    if kind == "group":
        rows = await memberships.of_group(object_id)
    else:
        rows = await memberships.get_many(await memberships.of_user(object_id))
    await memberships.mark_dirty([row.pair for row in rows if row.sys_id])


async def _reports(services: Services, sys_ids: Sequence[str], cycle_id: str) -> list[Event]:
    """Graph unlinks the reports of a deleted manager and announces nothing: they are looked at again."""
    reports: list[str] = []
    for sys_id in sys_ids:
        if sys_id:
            rows = await services.servicenow.select(_USERS, equals("manager", sys_id), ("sys_id",))
            owners = await services.owners.owners(_USERS, [row["sys_id"] for row in rows])
            reports += owners.values()
    at = services.clock()
    return [
        ObjectsChanged(kind="user", ids=tuple(part), reason="released", occurred_at=at, cycle_id=cycle_id)
        for part in chunks(sorted(set(reports)))
    ]


async def look_at_reports(services: Services, event: ReportsDue) -> None:
    """Who reports to a manager who has come back has him in Graph again, and nothing is announced of that either."""
    grace = services.settings.graph.replication_grace
    try:
        reports = await direct_reports(services.graph, event.manager_id)
    except NotFoundError:
        # A replica that has not heard of his return; or he is gone again, and then nobody has him.
        if event.attempt < _REPLICA_PATIENCE:
            await services.queues.send(event.again(), delay=max(grace, retry_delay(event.attempt, None)))
        return
    at = services.clock()
    ids = sorted({ref.id for ref in reports})
    if event.doubt:
        joins = await services.joins.get_many("user", ids)
        await services.joins.mark_dirty("user", [join.object_id for join in joins if join.sys_id])
    due = [
        ObjectsChanged(kind="user", ids=tuple(part), reason="released", occurred_at=at, cycle_id=event.cycle_id)
        for part in chunks(ids)
    ]
    # A report's replica may be behind that of his manager.
    await services.queues.send_all(due, delay=grace)


async def _is_first_round(services: Services, batch: Batch) -> bool:
    """In the first full round of users nobody waits but for this round's own: they are released at its end, in bulk."""
    if not isinstance(batch.event, ObjectsSnapshot) or batch.kind != "user":
        return False
    return (await services.watermarks.get("groups")).generation == 0
