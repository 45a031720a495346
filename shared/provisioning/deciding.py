"""Import and scope: what an object is now, and what should therefore become of its record.

Pure: a ``Work`` with what was read goes in, a decision with the wanted values comes out. The table of decisions:

| in Entra ID | decision for a record of ours | for somebody new |
|---|---|---|
| there, in scope, enabled | provision | provision |
| there, in scope, disabled | ``OnDisable`` | ``HireDisabled`` |
| there, out of scope (unassigned, or fails a filter) | ``OnUnassign``, then unmanaged | skip |
| there, dropped by an input filter | left alone | skip |
| in the recycle bin | ``OnSoftDelete``, memberships suspended | skip |
| gone for good, by Graph's own word | ``OnDelete`` | skip |
| not found, and no evidence | nothing, looked at again | skip |
| not found, and absent from a complete full round | as out of scope | skip |
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import MissingMatchValueError, ProvisioningError, TerminalError
from shared.provisioning.work import Outcome
from shared.schema.options import Action
from shared.schema.scoping import ScopeVerdict, describe, evaluate_scope
from shared.schema.source import group_source, user_source
from shared.schema.values import Flow, is_empty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from shared.provisioning.work import Work
    from shared.schema.expressions import EvaluationContext
    from shared.schema.mapping import AttributeMapping, ObjectMapping
    from shared.state.joins import JoinState

MEMBERS = "members"
_SOFT_DELETED = "IsSoftDeleted"
_NOTHING = Action()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known about an object beside itself. ``roles``: None when it is not assigned."""

    roles: tuple[str, ...] | None
    gone: bool = False
    absent: bool = False
    now: datetime | None = None
    member_of: tuple[str, ...] = ()


@dataclass(slots=True)
class Verdict:
    """What is to be done with the record: an action, the state that follows, and whether all attributes flow."""

    action: Action
    state: JoinState
    flows: bool
    is_soft_deleted: bool


def decide(work: Work, mapping: ObjectMapping, circumstances: Circumstances, context: EvaluationContext) -> Verdict | None:
    """Fill the work's decision and values; None (with an outcome) when there is nothing to do."""
    verdict = _verdict(work, mapping, circumstances)
    if verdict is None:
        return None
    work.source = _source(work, circumstances, is_soft_deleted=verdict.is_soft_deleted)
    if verdict.action.delete:
        if not mapping.deletes:
            return _skip(work, "DeleteNotSelected", "Delete is not among the target object actions of the mapping")
        work.decision = "delete"
        return verdict
    try:
        work.values = _values(work, mapping, verdict, context)
    except ProvisioningError as error:
        work.note("EntrySynchronizationAdd", "processing", "failure", f"The mapping failed: {error.reason}", errorCode=error.code)
        work.end(Outcome("escrowed", "other", "failure", error))
        return None
    work.decision = "provision" if verdict.state == "linked" else "disable"
    work.volatile = frozenset(attribute.target for attribute in mapping.attributes if attribute.volatile)
    if mapping.options.app_roles != "off" and work.decision == "provision":
        work.roles = tuple(sorted(circumstances.roles or ()))
    return verdict


def fingerprint(work: Work, verdict: Verdict, version: str) -> str:
    """A hash of everything that is wanted: equal, and nothing has to be done."""
    values = {column: bool(value) if column in work.volatile else value for column, value in work.values.items()}
    wanted = [
        version,
        work.decision,
        verdict.state,
        verdict.action.remove_memberships,
        work.roles,
        sorted(values.items(), key=lambda item: item[0]),
        sorted(escrow.key for escrow in work.waits),
    ]
    return hashlib.sha256(json.dumps(wanted, ensure_ascii=True).encode()).hexdigest()[:32]


def value_hash(object_id: str, column: str, value: str, *, case_exact: bool) -> str:
    """A short hash of one exported value, keyed by object and column so that equal values of people do not show as equal."""
    text = value if case_exact else value.casefold()
    return hashlib.sha256(f"{object_id}|{column}|{text}".encode()).hexdigest()[:16]


def display_name(raw: Mapping[str, Any] | None, object_id: str) -> str:
    """What the log calls an object: its userPrincipalName or displayName."""
    if raw is None:
        return object_id
    return str(raw.get("userPrincipalName") or raw.get("displayName") or object_id)


def _verdict(work: Work, mapping: ObjectMapping, circumstances: Circumstances) -> Verdict | None:
    options, join = mapping.options, work.join
    has_record = bool(join.sys_id)
    match work.presence:
        case "present":
            return _present(work, mapping, circumstances)
        case "softDeleted":
            _note_scope(work, ScopeVerdict(in_scope=False), active=False, assigned=circumstances.roles is not None)
            if not has_record:
                return _skip(work, "NotEffectivelyEntitled", "it is in the recycle bin and was never provisioned")
            return Verdict(options.on_soft_delete, "suspended", flows=False, is_soft_deleted=True)
        case "gone":
            _note_scope(work, ScopeVerdict(in_scope=False), active=False, assigned=False)
            if not has_record:
                return _skip(work, "NotEffectivelyEntitled", "it is deleted for good and has no record of ours")
            return Verdict(options.on_delete, "unmanaged", flows=False, is_soft_deleted=True)
        case _:
            if not has_record:
                return _skip(work, "NotFound", "Microsoft Graph does not know it, and it was never provisioned")
            if circumstances.absent:
                return Verdict(options.on_unassign, "unmanaged", flows=False, is_soft_deleted=True)
            return _skip(
                work, "NotFoundWithoutEvidence", "Microsoft Graph answers 404, which is no evidence that it is deleted for good"
            )


def _present(work: Work, mapping: ObjectMapping, circumstances: Circumstances) -> Verdict | None:
    options, join = mapping.options, work.join
    raw = work.raw or {}
    enabled = raw.get("accountEnabled") is not False
    assigned = circumstances.roles is not None
    work.source = _source(work, circumstances, is_soft_deleted=not (enabled and assigned))
    scope = evaluate_scope(mapping.scope, work.source, now=circumstances.now)
    _note_scope(work, scope, active=enabled, assigned=assigned)
    if scope.input_filtered:
        return _skip(work, "NotInInputFilter", "the input filter leaves it alone")
    if assigned and scope.in_scope:
        if enabled:
            return Verdict(_NOTHING, "linked", flows=True, is_soft_deleted=False)
        if join.sys_id and join.state != "":
            return Verdict(options.on_disable, "disabled", flows=True, is_soft_deleted=True)
        if options.hire_disabled == "create":
            return Verdict(Action(disable=True), "disabled", flows=True, is_soft_deleted=True)
        return _skip(work, "NotEffectivelyEntitled", "it is disabled and was never provisioned")
    reason = "a scoping filter leaves it out" if assigned else "it is not assigned to the application"
    if not join.sys_id:
        return _skip(work, "NotEffectivelyEntitled", reason)
    if options.skip_out_of_scope_deletions:
        return _skip(work, "SkipOutOfScopeDeletions", f"{reason}, and SkipOutOfScopeDeletions leaves its record as it is")
    return Verdict(options.on_unassign, "unmanaged", flows=False, is_soft_deleted=True)


def _skip(work: Work, detail: str, reason: str) -> Verdict | None:
    """End the work as skipped; None, because there is no verdict."""
    work.reason = reason
    description = f"{work.noun} '{work.display}' is skipped: {reason}."
    work.note("EntrySynchronizationSkip", "processing", "skipped", description, SkipReason=detail)
    work.end(Outcome("skipped", "other", "skipped", detail=detail))
    return None


def _source(work: Work, circumstances: Circumstances, *, is_soft_deleted: bool) -> Mapping[str, Any]:
    raw = work.raw or {"id": work.object_id}
    if work.kind == "group":
        return group_source(raw, is_soft_deleted=is_soft_deleted)
    return user_source(
        raw, is_soft_deleted=is_soft_deleted, app_roles=circumstances.roles or (), member_of=circumstances.member_of
    )


def _note_scope(work: Work, scope: ScopeVerdict, *, active: bool, assigned: bool) -> None:
    clauses = {describe(clause): clause.passed for clause in scope.clauses}
    in_scope = active and assigned and scope.in_scope
    work.note(
        "EntrySynchronizationScoping",
        "scoping",
        "success" if in_scope else "skipped",
        f"Determine if {work.noun} in scope by evaluating against each scoping filter",
        IsActive=str(active),
        Assigned=str(assigned),
        IsEffectivelyEntitledForProvisioning=str(active and assigned),
        IsInProvisioningScopeDisplayName=str(scope.in_scope),
        ScopeEvaluationResult=json.dumps(clauses),
    )


def _values(work: Work, mapping: ObjectMapping, verdict: Verdict, context: EvaluationContext) -> dict[str, str | None]:
    """Column -> wanted text; reference columns hold the name or object id that is resolved later."""
    if verdict.action.nothing and verdict.state != "linked":
        return {}
    values: dict[str, str | None] = {}
    for attribute in mapping.attributes:
        if attribute.target == MEMBERS or attribute.flow == "none":
            continue
        disables = _SOFT_DELETED in attribute.source_attributes
        if (disables and verdict.state != "linked" and not verdict.action.disable) or not (verdict.flows or disables):
            continue
        value = attribute.evaluate(work.source, context)
        if isinstance(value, Flow):
            continue
        text = None if is_empty(value) else attribute.to_target(value)
        values[attribute.target] = text or None
    values.update(verdict.action.set_attributes)
    if verdict.flows:
        _demand_required(work, mapping, values)
    return values


def _demand_required(work: Work, mapping: ObjectMapping, values: Mapping[str, str | None]) -> None:
    """A mapping may not blank what the record is found by, or what the schema calls required."""
    for column in matching_columns(mapping):
        if column in values and not values[column] and column in work.join.hashes:
            raise MissingMatchValueError(
                f"the matching attribute {column} would be blanked",
                recommended_action=f"Correct the value in Entra ID, or the mapping of {column}.",
            )
    for attribute in mapping.attributes:
        if attribute.required and attribute.target in values and not values[attribute.target] and not attribute.default:
            raise TerminalError(
                f"the required attribute {attribute.target} has no value",
                code="MissingValues",
                recommended_action=f"Fill the value in Entra ID, or give the mapping of {attribute.target} a default.",
            )


def matching_columns(mapping: ObjectMapping) -> list[str]:
    return [column for rule in mapping.matching for column, _ in rule.pairs]


def reference_attributes(mapping: ObjectMapping) -> Sequence[AttributeMapping]:
    return [attribute for attribute in mapping.attributes if attribute.reference is not None and attribute.target != MEMBERS]
