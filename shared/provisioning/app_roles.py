"""App roles of the enterprise application as roles in ServiceNow (sys_user_has_role), where the mapping's ``AppRoles`` says so.

| ``AppRoles`` | a role that is assigned in Entra ID | a role that is not |
|---|---|---|
| ``off`` | nothing | nothing |
| ``add`` | granted | stays |
| ``authoritative`` | granted | taken away, if it was granted directly and the guard has a place for it |

An app role answers to the ServiceNow role of the same name (its value, or its display name). What a group or another role passes
on (``inherited``) counts as granted and is never taken away here. The default access role grants nothing. What is taken away is
known by name: that a role could not be found is no reason to take its grant away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.errors import ProvisioningError, RetryableError
from shared.provisioning.guard import Deed
from shared.provisioning.work import Modified, Outcome
from shared.servicenow.queries import one_of
from shared.servicenow.sys_ids import derived_sys_id
from shared.servicenow.writes import Delete, Deleted, Insert, NotProcessed, Refused, Unknown, Written
from shared.state.escrows import Escrow
from shared.state.leases import LEASE_MARGIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.provisioning.batch import Batch
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.servicenow.records import Record
    from shared.servicenow.writes import Outcome as WriteOutcome
    from shared.state.lookups import Lookup

GRANTS, ROLES = "sys_user_has_role", "sys_user_role"
DEFAULT_ACCESS = "Default Access"
_DONE = frozenset({"created", "updated", "matched", "unchanged"})
_MODIFIED = "appRoleAssignments"


@dataclass(frozen=True, slots=True)
class _Change:
    """One grant to make or take away, and the name of its role."""

    work: Work
    role: str
    write: Insert | Delete

    @property
    def takes_away(self) -> bool:
        return isinstance(self.write, Delete)


async def follow_app_roles(services: Services, batch: Batch, works: Sequence[Work]) -> None:
    """Grant and take away roles of those who were provisioned just now. What fails ends the object as escrowed or retried."""
    concerned = [work for work in works if _is_concerned(work)]
    if not concerned:
        return
    names = sorted({name for work in concerned for name in _names(work)})
    lookups = await services.references.look_up(ROLES, names)
    users = {work.next_join.sys_id: work for work in concerned if work.next_join is not None}
    rows = await services.servicenow.select(GRANTS, one_of("user", sorted(users)), ("user", "role", "inherited"))
    changes: list[_Change] = []
    for sys_id, work in users.items():
        _await_missing(services, work, lookups)
        changes += _to_grant(work, sys_id, [row for row in rows if row["user"] == sys_id], lookups)
    if batch.mapping.options.app_roles == "authoritative":
        changes += await _to_take_away(services, users, rows, lookups)
    changes, settled = await _admitted(services, concerned, changes)
    if changes:
        until = min(work.lease.until for work in concerned if work.lease is not None).timestamp() - LEASE_MARGIN
        outcomes = await services.servicenow.write([change.write for change in changes], deadline=until)
        for change, outcome in zip(changes, outcomes, strict=True):
            _account(change, outcome)
    # An approval is for what was held, and must not outlast it.
    done = [subject for subject, work in settled.items() if work.outcome is not None and work.outcome.name in _DONE]
    await services.guard.forget(done)


async def _admitted(
    services: Services, concerned: Sequence[Work], changes: Sequence[_Change]
) -> tuple[list[_Change], dict[str, Work]]:
    """The changes that may be made, and those by subject of whom nothing is held when they are made.

    All that one person would lose at once is one deed.
    """
    losing: dict[str, list[_Change]] = {}
    for change in changes:
        if change.takes_away:
            losing.setdefault(change.work.object_id, []).append(change)
    rulings = await services.guard.judge([_deed(part) for part in losing.values()])
    held = {object_id for object_id in losing if rulings[f"roles:{object_id}"] != "granted"}
    for object_id in held:
        _hold(losing[object_id], rejected=rulings[f"roles:{object_id}"] == "rejected")
    admitted = [change for change in changes if not (change.takes_away and change.work.object_id in held)]
    return admitted, {f"roles:{work.object_id}": work for work in concerned if work.object_id not in held}


def _deed(losing: Sequence[_Change]) -> Deed:
    work = losing[0].work
    roles = ",".join(sorted(change.role for change in losing))
    reason = f"removeRoles: {len(losing)} roles that no assignment in Entra ID stands for"
    return Deed(f"roles:{work.object_id}", "removeRoles", f"{roles}|{work.join.fingerprint}", reason, roles, work.display)


def _hold(losing: Sequence[_Change], *, rejected: bool) -> None:
    """He keeps the roles; everything else about him goes on."""
    work = losing[0].work
    number = len(losing)
    if rejected:
        text = f"{number} roles of '{work.display}' are left alone: an operator rejected taking them away"
        work.note("EntrySynchronizationSkip", "export", "skipped", text, SkipReason="RejectedByOperator")
        return
    text = f"{number} roles of '{work.display}' are held for a decision: the limit of 24 hours is reached"
    work.note("EntryStagedDelete", "export", "skipped", text, SkipReason="StagedDelete")
    if work.next_join is not None:
        # Without a fingerprint he is looked at again when it is decided.
        work.next_join = replace(work.next_join, held=True, fingerprint="")
    if work.outcome is not None and work.outcome.name == "unchanged":
        detail = "StillStaged" if work.join.held else "StagedDelete"
        work.outcome = Outcome("staged", "stageddelete", "skipped", detail=detail)


def _is_concerned(work: Work) -> bool:
    ended = work.outcome is not None and work.outcome.name in _DONE
    return ended and work.roles is not None and work.next_join is not None and work.next_join.is_linked


def _names(work: Work) -> list[str]:
    return [name for name in work.roles or () if name != DEFAULT_ACCESS]


def _await_missing(services: Services, work: Work, lookups: Mapping[str, Lookup]) -> None:
    """A role that ServiceNow does not have is waited for: the cycle's tick asks for it again."""
    for name in _names(work):
        if lookups[name].sys_id:
            continue
        reason = f"the app role {name} has no role of that name in ServiceNow"
        work.warnings.append(reason)
        work.waits.append(Escrow.on_record(ROLES, name, f"{work.kind}:{work.object_id}", reason, services.clock()))
        work.note("EntryReferenceResolution", "referenceResolution", "warning", reason, attribute=_MODIFIED)
        if work.next_join is not None:
            waits = tuple(sorted(escrow.key for escrow in work.waits))
            # Without a fingerprint the object is looked at again when the role appears.
            work.next_join = replace(work.next_join, waits=waits, fingerprint="")


def _wanted(work: Work, lookups: Mapping[str, Lookup]) -> dict[str, str]:
    """Roles that somebody is to have, as far as ServiceNow knows them: sys_id -> name."""
    return {lookups[name].sys_id: name for name in _names(work) if lookups[name].sys_id}


def _to_grant(work: Work, sys_id: str, held: Sequence[Record], lookups: Mapping[str, Lookup]) -> list[_Change]:
    have = {row["role"] for row in held}
    return [
        _Change(work, name, Insert(GRANTS, {"user": sys_id, "role": role}, derived_sys_id(GRANTS, sys_id, role)))
        for role, name in sorted(_wanted(work, lookups).items())
        if role not in have
    ]


async def _to_take_away(
    services: Services, users: Mapping[str, Work], rows: Sequence[Record], lookups: Mapping[str, Lookup]
) -> list[_Change]:
    """Direct grants of roles by whose names nobody is assigned."""
    loose = [row for row in rows if row["inherited"] != "true" and row["role"] not in _wanted(users[row["user"]], lookups)]
    if not loose:
        return []
    roles = await services.servicenow.select(ROLES, one_of("sys_id", sorted({row["role"] for row in loose})), ("name",))
    named = {role["sys_id"]: role["name"] for role in roles}
    changes = []
    for row in loose:
        work, name = users[row["user"]], named.get(row["role"], "")
        if name and name.casefold() not in {each.casefold() for each in _names(work)}:
            changes.append(_Change(work, name, Delete(GRANTS, row["sys_id"])))
    return changes


def _account(change: _Change, outcome: WriteOutcome) -> None:
    work = change.work
    match outcome:
        case Written() if not outcome.dropped:
            work.modified.append(Modified(_MODIFIED, None, change.role))
            _succeed(work, f"role {change.role} was granted to '{work.display}' in ServiceNow")
        case Written():
            error = ProvisioningError(
                f"ServiceNow did not take {', '.join(outcome.dropped)} of a grant of {change.role}",
                code="InsufficientRights",
                recommended_action=f"Let the integration user write user and role of {GRANTS}.",
            )
            _fail(change, error)
        case Deleted():
            work.modified.append(Modified(_MODIFIED, change.role, None))
            _succeed(work, f"role {change.role} was taken from '{work.display}' in ServiceNow")
        case Refused(error=error) if error.code == "InvalidAnchor" and isinstance(change.write, Delete):
            pass  # gone already
        case Refused(error=error) if getattr(error, "duplicate_sys_id", False):
            pass  # our own grant of an earlier try
        case Refused(error=error) | NotProcessed(error=error) | Unknown(error=error):
            _fail(change, error)


def _succeed(work: Work, description: str) -> None:
    work.note("EntryExportUpdate", "export", "success", description)
    if work.outcome is not None and work.outcome.name in {"unchanged", "matched"}:
        work.outcome = replace(work.outcome, name="updated", action="update", status="success", detail="")


def _fail(change: _Change, error: ProvisioningError) -> None:
    """The record is as it should be, its roles are not: the object comes back, and its fingerprint does not hide it."""
    work = change.work
    work.note(
        "EntryExportUpdate", "export", "failure", f"Role {change.role} could not be changed: {error.reason}", errorCode=error.code
    )
    if work.next_join is not None:
        work.next_join = replace(work.next_join, fingerprint="")
    retryable = isinstance(error, RetryableError)
    again = (error.retry_after or 5.0) if isinstance(error, RetryableError) else None
    # A grant is found again by its user and role: nothing of it needs the lease to outlast a request.
    plain = ProvisioningError(error.reason, code=error.code, recommended_action=error.recommended_action)
    work.outcome = Outcome("retried" if retryable else "escrowed", "update", "failure", plain, again=again)
