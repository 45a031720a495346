"""Export: only what differs is written, and what was written is read back and remembered.

For a clean link the hashes of what was exported last tell what differs, without asking ServiceNow. For a new match, and for a
row that is dirty, the record itself is compared.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import FateUnknownError, ProvisioningError
from shared.provisioning.deciding import MEMBERS, matching_columns, value_hash
from shared.provisioning.fitting import fitted
from shared.provisioning.work import Modified, Outcome
from shared.servicenow.writes import Delete, Deleted, Insert, NotProcessed, Refused, Unknown, Update, Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.provisioning.deciding import Verdict
    from shared.provisioning.fitting import Columns
    from shared.provisioning.work import Action, OutcomeName, Work
    from shared.schema.mapping import AttributeMapping, ObjectMapping
    from shared.servicenow.writes import Outcome as WriteOutcome, Write
    from shared.state.joins import Join

_REDACTED = "[Redact]"
_ACTIVE, _LOCKED = "active", "locked_out"


def plan(work: Work, mapping: ObjectMapping, verdict: Verdict, columns: Columns) -> Write | None:
    """The one write that makes the record what is wanted; None (perhaps with an outcome) when there is none."""
    if work.decision == "delete":
        return Delete(mapping.table, work.join.sys_id)
    sys_id = work.record["sys_id"] if work.record is not None else work.join.sys_id
    if not sys_id:
        if not mapping.creates:
            work.end(Outcome("skipped", "other", "skipped", detail="AddNotSelected"))
            return None
        work.changes = fitted(work, mapping, columns, _for_create(work, mapping))
        return Insert(mapping.table, work.changes) if work.is_open else None
    work.changes = fitted(work, mapping, columns, _for_update(work, mapping, verdict))
    if not work.changes or not work.is_open:
        return None
    if not mapping.updates:
        work.changes = {}
        work.end(Outcome("skipped", "other", "skipped", detail="UpdateNotSelected"))
        return None
    return Update(mapping.table, sys_id, work.changes, before=dict(work.record or {}))


def _for_create(work: Work, mapping: ObjectMapping) -> dict[str, str]:
    values = {column: value for column, value in work.values.items() if value}
    for attribute in mapping.attributes:
        if attribute.default and attribute.target != MEMBERS and not values.get(attribute.target):
            values[attribute.target] = attribute.default
    return values


def _for_update(work: Work, mapping: ObjectMapping, verdict: Verdict) -> dict[str, str]:
    join, record = work.join, work.record
    changes: dict[str, str] = {}
    for column, value in work.values.items():
        attribute = mapping.attribute(column)
        if attribute is not None and _stays(attribute, work):
            continue
        text = value or ""
        if attribute is not None and attribute.flow == "add_only":
            text = _joined((record or {}).get(column, ""), text)
        if not text and not _may_clear(attribute, column in join.hashes):
            continue
        if _differs(work, column, text, exact=attribute is None or attribute.case_exact):
            changes[column] = text
    for attribute in mapping.attributes:
        empty = record is not None and record.get(attribute.target) == ""
        if attribute.flow == "none" and attribute.default and empty:
            changes[attribute.target] = attribute.default
    if _unlocks(work, verdict, changes):
        changes[_LOCKED] = "false"
    if changes:
        changes |= _along(work, mapping)
    return changes


def _differs(work: Work, column: str, text: str, *, exact: bool) -> bool:
    """Whether the record does not hold the value: as it was just read, or else as it was last exported."""
    held = work.record.get(column) if work.record is not None else None
    if held is None:
        return work.join.hashes.get(column) != value_hash(work.object_id, column, text, case_exact=exact)
    return held != text if exact else held.casefold() != text.casefold()


def _stays(attribute: AttributeMapping, work: Work) -> bool:
    """What is written only on creation, or would differ with every look, is no reason for an update."""
    if attribute.flow == "create_only":
        return True
    held = (work.record or {}).get(attribute.target, "")
    return attribute.volatile and bool(held or attribute.target in work.join.hashes)


def _along(work: Work, mapping: ObjectMapping) -> dict[str, str]:
    """What goes along with an export that happens anyway: ``FlowAlways``, and expressions whose value never rests."""
    along: dict[str, str] = {}
    for attribute in mapping.attributes:
        value = work.values.get(attribute.target)
        moves = attribute.flow_behavior == "FlowAlways" or (attribute.volatile and not attribute.unique)
        if value and moves and attribute.flow == "always":
            along[attribute.target] = value
    return along


def _joined(held: str, wanted: str) -> str:
    """The values of a list column with ours added; nothing is taken away."""
    parts = [part.strip() for part in (*held.split(","), *wanted.split(",")) if part.strip()]
    return ",".join(dict.fromkeys(parts))


def _may_clear(attribute: AttributeMapping | None, was_provisioned: bool) -> bool:
    """What was provisioned and is now null is cleared; what never was is left alone: both can be changed per attribute."""
    if attribute is None:
        return False
    return attribute.clear if was_provisioned else attribute.clear_never_provisioned


def _unlocks(work: Work, verdict: Verdict, changes: Mapping[str, str]) -> bool:
    """Whether to unlock with the re-enabling: ServiceNow locks with active=false and does not unlock by itself (KB0696657).

    What ServiceNow's own people locked while the account was active stays locked.
    """
    if verdict.state != "linked" or changes.get(_ACTIVE) != "true" or _LOCKED in work.values:
        return False
    was_inactive = work.record is not None and work.record.get(_ACTIVE) == "false"
    return work.join.disabled_by_us or was_inactive


def adds_to_record(work: Work, mapping: ObjectMapping) -> bool:
    """Whether what is to be written depends on what the record holds: columns to which values are only added."""
    return any(attribute.flow == "add_only" and work.values.get(attribute.target) for attribute in mapping.attributes)


def account(work: Work, mapping: ObjectMapping, verdict: Verdict, write: Write | None, outcome: WriteOutcome | None) -> None:
    """What became of the write, as outcome, log and the join's next state."""
    match outcome:
        case None:
            _unwritten(work, mapping, verdict)
        case Written():
            _written(work, mapping, verdict, write, outcome)
        case Deleted():
            _deleted(work)
        case Refused(error=error):
            _refused(work, mapping, write, error)
        case NotProcessed(error=error):
            _failed_export(work, write, error)
            work.end(Outcome("retried", _action(work, write), "failure", error, again=error.retry_after or 2.0))
        case Unknown(error=error):
            _failed_export(work, write, error)
            work.end(Outcome("retried", _action(work, write), "failure", error))


def _unwritten(work: Work, mapping: ObjectMapping, verdict: Verdict) -> None:
    name: OutcomeName = "matched" if work.is_new_link else "unchanged"
    description = (
        f"The state of the {work.noun.lower()} in both the source and target systems already match. "
        f"No change to the {work.noun} '{work.display}' currently needs to be made."
    )
    work.note("EntrySynchronizationSkip", "export", "skipped", description, SkipReason="RedundantExport")
    work.next_join = _next(work, mapping, verdict, dict(work.record or {}))
    work.end(Outcome(name, "other", "skipped", detail="RedundantExport"))


def _written(work: Work, mapping: ObjectMapping, verdict: Verdict, write: Write | None, outcome: Written) -> None:
    created = isinstance(write, Insert)
    dropped = _not_taken(work, mapping, outcome)
    essential = dropped & ({*matching_columns(mapping)} | ({_ACTIVE} if _ACTIVE in work.changes else set()))
    if essential:
        error = ProvisioningError(
            f"ServiceNow answered with success but did not take {', '.join(sorted(essential))}",
            code="InsufficientRights",
            recommended_action=f"Let the integration user write {', '.join(sorted(essential))} of {mapping.table}.",
        )
        work.join = replace(work.join, sys_id=outcome.sys_id or work.join.sys_id)
        _failed_export(work, write, error)
        work.next_join = replace(_next(work, mapping, verdict, outcome.record), dirty=True, fingerprint="")
        work.end(Outcome("escrowed", _action(work, write), "failure", error))
        return
    if dropped:
        work.warnings.append(f"ServiceNow did not take {', '.join(sorted(dropped))}: the integration user may not write there")
    altered = outcome.altered.keys() - dropped
    if altered:
        work.warnings.append(f"ServiceNow changed the value of {', '.join(sorted(altered))} when it was written")
    step = "EntryExportAdd" if created else "EntryExportUpdate"
    verb = "created" if created else "updated"
    work.note(
        step, "export", "success", f"{work.noun} '{work.display}' was {verb} in ServiceNow", ReportableIdentifier=work.display
    )
    before = work.record or {}
    for column, value in work.changes.items():
        if column not in dropped:
            attribute = mapping.attribute(column)
            hide = attribute is not None and attribute.redact
            old = None if created else before.get(column)
            work.modified.append(Modified(column, _REDACTED if hide and old else old, _REDACTED if hide else value))
    work.next_join = _next(work, mapping, verdict, outcome.record, created_id=outcome.sys_id if created else "", dropped=dropped)
    if created:
        work.is_new_link = True
        work.end(Outcome("created", "create"))
    elif work.decision == "disable":
        work.end(Outcome("disabled", "disable"))
    else:
        work.end(Outcome("matched" if work.is_new_link else "updated", "update"))


def _not_taken(work: Work, mapping: ObjectMapping, outcome: Written) -> set[str]:
    """Columns that did not take their value. One that holds what was exported before was refused in silence, not altered."""
    refused = {_ACTIVE} & outcome.altered.keys()
    for column, held in outcome.altered.items():
        attribute = mapping.attribute(column)
        exact = attribute is None or attribute.case_exact
        if work.join.hashes.get(column) == value_hash(work.object_id, column, held, case_exact=exact):
            refused.add(column)
    return refused | set(outcome.dropped)


def _deleted(work: Work) -> None:
    work.note("EntryExportDelete", "export", "success", f"{work.noun} '{work.display}' was deleted in ServiceNow")
    work.next_join = replace(
        work.join, sys_id="", state="deleted", hashes={}, intent=None, dirty=False, fingerprint=work.fingerprint, waits=()
    )
    work.end(Outcome("deleted", "delete"))


def _refused(work: Work, mapping: ObjectMapping, write: Write | None, error: ProvisioningError) -> None:
    if error.code == "InvalidAnchor" and isinstance(write, Delete):
        _deleted(work)
        return
    if error.code == "InvalidAnchor" and isinstance(write, Update):
        _record_gone(work, mapping, error)
        return
    if getattr(error, "duplicate_sys_id", False):
        # Our own insert of an earlier try, or a record that took the id before: the next try compares before it believes.
        work.next_join = replace(work.join, dirty=True, intent=None)
        work.end(Outcome("retried", "create", "failure", error, again=0.0))
        return
    _failed_export(work, write, error)
    work.next_join = replace(work.join, intent=None)
    work.end(Outcome("escrowed", _action(work, write), "failure", error))


def _record_gone(work: Work, mapping: ObjectMapping, error: ProvisioningError) -> None:
    """The linked record is no longer there, or hidden: match again and recreate, or hold, as the mapping says."""
    work.note(
        "EntryImport",
        "matching",
        "failure",
        f"The linked record {work.join.sys_id} is gone: {error.reason}",
        errorCode=error.code,
    )
    if mapping.options.recreate_missing == "hold":
        work.next_join = replace(work.join, intent=None, dirty=True)
        work.end(Outcome("escrowed", "update", "failure", error))
        return
    work.next_join = replace(work.join, sys_id="", hashes={}, fingerprint="", intent=None, dirty=True)
    work.end(Outcome("retried", "update", "failure", error, again=0.0))


def _failed_export(work: Work, write: Write | None, error: ProvisioningError) -> None:
    step = (
        "EntryExportAdd"
        if isinstance(write, Insert)
        else "EntryExportDelete"
        if isinstance(write, Delete)
        else "EntryExportUpdate"
    )
    verb = "create" if isinstance(write, Insert) else "delete" if isinstance(write, Delete) else "update"
    description = f"Failed to {verb} {work.noun} '{work.display}' in ServiceNow: {error.reason}"
    work.note(step, "export", "failure", description, ReportableIdentifier=work.display, errorCode=error.code)
    if isinstance(error, FateUnknownError):
        work.warnings.append(
            "it is not known whether ServiceNow processed the request: the record is compared before the next try"
        )


def _action(work: Work, write: Write | None) -> Action:
    if isinstance(write, Insert):
        return "create"
    if isinstance(write, Delete):
        return "delete"
    return "disable" if work.decision == "disable" else "update"


def _next(
    work: Work,
    mapping: ObjectMapping,
    verdict: Verdict,
    record: Mapping[str, str],
    *,
    created_id: str = "",
    dropped: set[str] | None = None,
) -> Join:
    """The join after this: linked to the record, with hashes of everything that is known to be exported."""
    join = work.join
    hashes = dict(join.hashes)
    left_out = work.left_out | (dropped or set())
    for column, value in work.values.items():
        attribute = mapping.attribute(column)
        exact = attribute is None or attribute.case_exact
        text = value or ""
        if column in left_out or (not text and column not in join.hashes and column not in work.changes):
            continue
        once = attribute is not None and (attribute.flow == "create_only" or attribute.unique)
        if once and column not in work.changes and column not in join.hashes:
            # What stood there before us was not exported by us.
            continue
        hashes[column] = value_hash(work.object_id, column, text, case_exact=exact)
    disabled = join.disabled_by_us
    if work.changes.get(_ACTIVE) == "false":
        disabled = True
    elif verdict.state == "linked":
        disabled = False
    return replace(
        join,
        sys_id=created_id or (work.record or {}).get("sys_id", "") or join.sys_id or record.get("sys_id", ""),
        state=verdict.state,
        hashes=hashes,
        fingerprint=work.fingerprint,
        intent=None,
        dirty=False,
        disabled_by_us=disabled,
        stripped=verdict.action.remove_memberships,
        waits=tuple(sorted(escrow.key for escrow in work.waits)),
    )
