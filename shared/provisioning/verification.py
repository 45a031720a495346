"""Verification: what is provisioned is compared with both sides, and what has drifted apart is reported or mended.

A walk over all links, chunk by chunk: target rows in bulk, Graph objects by ``$batch``. Findings:

| finding | what is done |
|---|---|
| ``drift``: a column holds another value than the one exported | reported; with ``Drift`` = ``repair`` written again |
| ``locked``: ServiceNow's people deactivated or locked somebody who is active in Entra ID | reported, never undone |
| ``contested``: the same column was mended three times in 30 days | reported, mended no more |
| ``recordGone``: the linked record is not there | reported of the disabled; else looked at again: matched, recreated or held |
| ``orphaned``: Microsoft Graph does not know the linked object | reported: a 404 is no evidence to take anything away |
| ``missed``: Entra ID has changed and nobody told us | looked at again |
| ``foreignOwner``: the record is owned by another object | reported |
| ``duplicateMember``: several rows for one membership | all but one are removed |
| ``missingMember``: a membership that we wrote is not there | by the ``Drift`` of the members mapping |
| ``foreignMember``: a member whom ServiceNow's people added | left alone; with ``Members`` = ``authoritative`` removed |

What changed while it was being looked at is passed over: the next run sees it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.events import ObjectsChanged, Walk, new_id
from shared.provisioning.member_verification import verify_members
from shared.provisioning.remarks import Remark, write_remarks
from shared.provisioning.walking import Position, Walking, shown
from shared.provisioning.work import Modified, Outcome
from shared.servicenow.queries import one_of
from shared.state.joins import BUCKETS
from shared.state.owners import Claim
from shared.state.walks import Repairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.events import Kind
    from shared.provisioning.batch import Batch
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.schema.mapping import AttributeMapping, ObjectMapping
    from shared.state.joins import Join
    from shared.state.walks import WalkMark

_OBJECTS_PER_STEP = {"user": 100, "group": 5}
_REDACTED = "[Redact]"
_CONTESTED, _CONTESTED_WITHIN = 3, timedelta(days=30)
#: Stands for a value that nobody exported, so that the next comparison finds a difference.
_UNKNOWN_VALUE = "drifted"
#: Never undone by us: what people in ServiceNow decided about an account of theirs.
_PEOPLE_DECIDE = {"active": "true", "locked_out": "false"}


@dataclass(frozen=True, slots=True)
class Drift:
    """One column of one record that holds ``held`` where ``wanted`` was exported."""

    column: str
    held: str
    wanted: str
    finding: str
    redact: bool


class Verification(Walking):
    """The daily walk."""

    walk: Walk = "verification"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._repairs = Repairs(services.tables)

    async def status(self) -> dict[str, Any]:
        """The last run, for operators; its findings are in the provisioning log."""
        return shown(await self.mark())

    async def step(self, mark: WalkMark) -> tuple[Position | None, Counter[str]]:
        services = self._services
        kind: Kind = "group" if mark.position.get("kind") == "group" else "user"
        number, after = int(mark.position.get("bucket", 0)), str(mark.position.get("after", ""))
        size = _OBJECTS_PER_STEP[kind]
        joins = await services.joins.chunk(kind, number, after, size)
        counts = await self._objects(kind, [join for join in joins if join.is_linked], mark.run)
        if kind == "group":
            for join in joins:
                if join.is_linked:
                    counts.update(await verify_members(services, join, mark.run))
        if len(joins) == size:
            return {"kind": kind, "bucket": number, "after": joins[-1].object_id}, counts
        if number + 1 < BUCKETS:
            return {"kind": kind, "bucket": number + 1}, counts
        return ({"kind": "group", "bucket": 0}, counts) if kind == "user" else (None, counts)

    async def _objects(self, kind: Kind, joins: Sequence[Join], run: str) -> Counter[str]:
        services = self._services
        mapping = services.mapping(kind)
        at_rest = [join for join in joins if not join.dirty and join.intent is None and not join.held]
        if mapping is None or not at_rest:
            return Counter()
        # A rehearsal: resolving references may create some, and nothing is to be made here.
        batch = await services.rehearse()[0].objects.judge(kind, [join.object_id for join in at_rest])
        if batch is None:
            return Counter()
        fields = await services.target.readable_columns(mapping, ("active", "locked_out"))
        condition = one_of("sys_id", [join.sys_id for join in at_rest])
        records = {row["sys_id"]: row for row in await services.servicenow.select(mapping.table, condition, fields)}
        if len(records) < len(at_rest):
            await services.target.prove_absence(mapping, afresh=not records)
        owners = await services.owners.owners(mapping.table, [join.sys_id for join in at_rest])
        now = {join.object_id: join for join in await services.joins.get_many(kind, [join.object_id for join in at_rest])}
        works = {work.object_id: work for work in batch.works}
        findings = _Findings(run, kind)
        for join in at_rest:
            if now[join.object_id].etag == join.etag:
                await self._one(findings, batch, join, works[join.object_id], records.get(join.sys_id), owners.get(join.sys_id))
        await services.joins.mark_dirty(kind, [join.object_id for join in findings.gone])
        await self._look_again(kind, [*findings.again, *(join.object_id for join in findings.gone)])
        await write_remarks(services, findings.remarks, cycle_id=run)
        return findings.counts

    async def _one(
        self, findings: _Findings, batch: Batch, join: Join, work: Work, record: Mapping[str, str] | None, owner: str | None
    ) -> None:
        """Compare one link with both sides."""
        findings.counts["checked"] += 1
        judged = work.is_open and work.object_id in batch.verdicts
        if owner is None:
            await self._services.owners.claim([Claim(batch.mapping.table, join.sys_id, join.object_id)])
        if owner not in {None, join.object_id}:
            findings.add("foreignOwner", join, work, f"record {join.sys_id} is owned by {owner}")
        elif record is None:
            findings.add("recordGone", join, work, f"the linked record {join.sys_id} is gone from {batch.mapping.table}")
            if join.state == "linked":
                # Somebody inactive needs no record before he returns, and his may only be hidden: it would wait as a failure.
                findings.gone.append(join)
        elif work.presence == "unknown":
            findings.add("orphaned", join, work, "Microsoft Graph does not know the object that the record is linked to")
        elif judged and work.fingerprint != join.fingerprint:
            # The log will say what has changed, once the object has been looked at again.
            findings.counts["missed"] += 1
            findings.again.append(join.object_id)
        elif judged:
            await self._drifted(findings, join, work, list(_drifts(work, batch.mapping, join, record)))

    async def _drifted(self, findings: _Findings, join: Join, work: Work, drifts: Sequence[Drift]) -> None:
        """Report what drifted, and have what is to be repaired written again."""
        if not drifts:
            return
        services = self._services
        since = services.clock() - _CONTESTED_WITHIN
        keys = {drift.column: f"{join.object_id}|{drift.column}" for drift in drifts if drift.finding == "repair"}
        earlier = await self._repairs.counts(list(keys.values()), since)
        mended = [column for column, key in keys.items() if earlier[key] < _CONTESTED]
        for drift in drifts:
            finding = drift.finding
            if finding == "repair":
                finding = "drift" if drift.column in mended else "contested"
            findings.counts[finding] += 1
        shown_columns = ", ".join(drift.column for drift in drifts)
        description = f"{shown_columns}: ServiceNow holds another value than the one that was exported"
        if len(mended) < len(keys):
            contested = ", ".join(column for column in keys if column not in mended)
            description += f"; {contested} was mended {_CONTESTED} times in 30 days and is left alone now"
        findings.remark(join, work, "Drift", description, tuple(map(_modified, drifts)))
        if mended and await self._distrust(join, mended):
            await self._repairs.add([keys[column] for column in mended], services.clock(), since)
            findings.counts["repaired"] += len(mended)
            findings.again.append(join.object_id)

    async def _distrust(self, join: Join, columns: Iterable[str]) -> bool:
        """Make these columns differ from what was exported, so that they alone are written again. False if the row changed."""
        ((held, taken),) = await self._services.joins.take([join], new_id())
        if taken.lease is None:
            return False
        changed = replace(held, hashes={**held.hashes, **dict.fromkeys(columns, _UNKNOWN_VALUE)}, fingerprint="")
        (lease,) = await self._services.joins.write([(changed, taken.lease)], keep=False)
        return lease is not None

    async def _look_again(self, kind: Kind, ids: Sequence[str]) -> None:
        if ids:
            at = self._services.clock()
            await self._services.queues.send(ObjectsChanged(kind=kind, ids=tuple(ids), reason="verify", occurred_at=at))


class _Findings:
    """What one step has found."""

    def __init__(self, run: str, kind: Kind) -> None:
        self._run, self._kind = run, kind
        self.counts: Counter[str] = Counter()
        self.remarks: list[Remark] = []
        self.again: list[str] = []
        self.gone: list[Join] = []

    def add(self, finding: str, join: Join, work: Work, description: str) -> None:
        self.counts[finding] += 1
        self.remark(join, work, finding[0].upper() + finding[1:], description)

    def remark(self, join: Join, work: Work, code: str, description: str, modified: tuple[Modified, ...] = ()) -> None:
        outcome = Outcome("skipped", "other", "warning", detail=code)
        subject = f"{self._kind}:{join.object_id}"
        occasion = f"{self._run} {code} {join.object_id}"
        self.remarks.append(Remark(subject, occasion, description, outcome, modified, work.display, join.sys_id))


def _drifts(work: Work, mapping: ObjectMapping, join: Join, record: Mapping[str, str]) -> Iterable[Drift]:
    """The columns whose value is not the one that was exported."""
    for column, value in work.values.items():
        attribute = mapping.attribute(column)
        held, wanted = record.get(column), value or ""
        if column not in join.hashes or held is None or (attribute is not None and not _is_watched(attribute)):
            continue
        exact = attribute is not None and attribute.case_exact
        if held == wanted if exact else held.casefold() == wanted.casefold():
            continue
        if attribute is not None and attribute.on_overflow == "truncate" and held and wanted.startswith(held):
            continue
        finding = "repair" if attribute is not None and attribute.drift == "repair" else "drift"
        if _PEOPLE_DECIDE.get(column) == wanted:
            finding = "locked"
        yield Drift(column, held, wanted, finding, attribute is not None and attribute.redact)


def _is_watched(attribute: AttributeMapping) -> bool:
    return attribute.flow == "always" and attribute.drift != "ignore"


def _modified(drift: Drift) -> Modified:
    if drift.redact:
        return Modified(drift.column, _REDACTED, _REDACTED)
    return Modified(drift.column, drift.held, drift.wanted)
