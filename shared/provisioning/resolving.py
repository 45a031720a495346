"""Reference resolution: names and object ids become sys_ids, or the object waits for them.

| policy | a referenced record does not exist |
|---|---|
| ``omit`` | the object is provisioned without it, warned about, and looked at again when it appears |
| ``fail`` | the object is not provisioned (InvalidLookupReference), as Microsoft's connector does |
| ``create`` | the record is created, once |

A column that waits keeps what it holds: a stale department is less wrong than none while the new one is being made.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.errors import UnresolvedReferenceError
from shared.provisioning.deciding import reference_attributes
from shared.provisioning.work import Outcome
from shared.servicenow.sys_ids import derived_sys_id
from shared.servicenow.writes import Insert, Refused, Written
from shared.state.escrows import Escrow
from shared.state.owners import Claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.schema.mapping import AttributeMapping, ObjectMapping
    from shared.state.lookups import Lookup


#: Nobody needs longer to create one reference record.
_CREATION = timedelta(minutes=3)


async def resolve(services: Services, works: Sequence[Work], mapping: ObjectMapping) -> None:
    """Replace names and object ids in the works' values by sys_ids; what cannot be resolved becomes a wait or an error."""
    for attribute in reference_attributes(mapping):
        concerned = [work for work in works if work.is_open and work.values.get(attribute.target)]
        if not concerned or attribute.reference is None:
            continue
        if attribute.reference.objects:
            await _objects(services, concerned, attribute)
        else:
            await _records(services, concerned, attribute)


async def _objects(services: Services, works: Sequence[Work], attribute: AttributeMapping) -> None:
    """Values are object ids of users (a manager): resolved through their joins."""
    ids = list(dict.fromkeys(str(work.values[attribute.target]) for work in works))
    joins = {join.object_id: join for join in await services.joins.get_many("user", ids)}
    for work in works:
        awaited = str(work.values[attribute.target])
        join = joins[awaited]
        if join.is_linked:
            work.values[attribute.target] = join.sys_id
            continue
        reason = f"{attribute.target} refers to {awaited}, who is not provisioned in ServiceNow (yet)"
        escrow = Escrow.on_object(awaited, f"{work.kind}:{work.object_id}", reason, services.clock())
        _wait(work, attribute, escrow, reason)


async def _records(services: Services, works: Sequence[Work], attribute: AttributeMapping) -> None:
    """Values are names of records of a reference table."""
    reference = attribute.reference
    assert reference is not None  # noqa: S101 - the caller chose attributes that have one
    names = list(dict.fromkeys(str(work.values[attribute.target]) for work in works))
    lookups = await services.references.look_up(reference.table, names, columns=reference.columns)
    for work in works:
        name = str(work.values[attribute.target])
        lookup = lookups[name]
        if not lookup.sys_id and not lookup.ambiguous and reference.policy == "create":
            lookup = lookups[name] = await _create(services, reference.table, reference.columns[0], lookup)
        if lookup.sys_id:
            work.values[attribute.target] = lookup.sys_id
            continue
        problem = "several records have that name" if lookup.ambiguous else "there is no such record"
        shown = "the value" if attribute.redact else f"'{name}'"
        reason = f"{attribute.target}: {shown} was not found in {reference.table} ({problem})"
        escrow = Escrow.on_record(reference.table, name, f"{work.kind}:{work.object_id}", reason, services.clock())
        _wait(work, attribute, escrow, reason)


def _wait(work: Work, attribute: AttributeMapping, escrow: Escrow, reason: str) -> None:
    """Wait for what is missing, or fail, as the attribute's policy says."""
    assert attribute.reference is not None  # noqa: S101 - as above
    del work.values[attribute.target]
    work.waits.append(escrow)
    if attribute.reference.policy == "fail":
        error = UnresolvedReferenceError(reason, recommended_action=escrow.recommended_action or None)
        work.note("EntrySynchronizationSkip", "referenceResolution", "failure", reason, errorCode=error.code)
        work.end(Outcome("escrowed", "other", "failure", error))
        return
    work.warnings.append(reason)
    work.note("EntryReferenceResolution", "referenceResolution", "warning", reason, attribute=attribute.target)


def _is_abandoned(holder: str, at: datetime) -> bool:
    """Whether the claim on a reference record is older than any worker needs to create it: it died in between."""
    kind, _, rest = holder.partition("|")
    return kind == "reference" and at - datetime.fromisoformat(rest.rpartition("|")[2]) > _CREATION


async def _create(services: Services, table: str, column: str, lookup: Lookup) -> Lookup:
    """Create a reference record once, however many objects need it at the same moment: the claim decides who does it."""
    sys_id = derived_sys_id(table, column, lookup.name.casefold())
    at = services.clock()
    claim = Claim(table, sys_id, f"reference|{services.worker}|{at.isoformat()}")
    holder = (await services.owners.claim([claim]))[0]
    if holder != claim.object_id and not (_is_abandoned(holder, at) and await services.owners.move(claim, holder)):
        return lookup
    outcome = (await services.servicenow.write([Insert(table, {column: lookup.name}, sys_id)]))[0]
    if isinstance(outcome, (Written, Refused)):
        fresh = await services.references.look_up(table, [lookup.name], columns=(column,), refresh=True)
        return fresh[lookup.name]
    return lookup
