"""One membership on its way: what is to be done about it, what is written for that, and what is known afterwards. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.errors import FateUnknownError, ProvisioningError
from shared.servicenow.sys_ids import derived_sys_id
from shared.servicenow.writes import Delete, Deleted, Insert, NotProcessed, Refused, Unknown, Write, Written

if TYPE_CHECKING:
    from shared.servicenow.writes import Outcome
    from shared.state.joins import Join
    from shared.state.leases import Intent, Lease
    from shared.state.memberships import Membership

TABLE = "sys_user_grmember"
#: What an object is whose record is deleted or somebody else's by now; and a person who is in no group any more.
_WITHOUT_RECORD = frozenset({"deleted", "retired", "gone"})
_WITHOUT_MEMBERSHIPS = _WITHOUT_RECORD | {"suspended"}

type Pair = tuple[str, str]


@dataclass(slots=True)
class Case:
    """One membership under our lease, and what becomes of it."""

    membership: Membership
    lease: Lease
    user: Join
    group: Join
    verb: str = "keep"
    found: tuple[str, ...] = ()
    #: The mapping of members only ever adds (flowType ``MultiValueAddOnly``).
    add_only: bool = False
    #: ServiceNow was asked for the record: what was remembered of it counts no more.
    checked: bool = False
    result: str = "unchanged"
    error: ProvisioningError | None = None
    #: What a former worker was about to write: it stands until we have come to an end that the log tells of.
    inherited: Intent | None = None

    @property
    def pair(self) -> Pair:
        return self.membership.pair


def is_wanted(case: Case) -> bool:
    return case.membership.desired and case.user.holds_memberships and case.group.is_linked


def is_to_go(case: Case) -> bool:
    """Whether a record of the membership is to be taken away.

    That somebody is out of scope, or that his own record or the group's is not there, is no reason: it is left as it is.
    """
    user, group = case.user, case.group
    return not case.membership.desired or user.stripped or user.state in _WITHOUT_MEMBERSHIPS or group.state in _WITHOUT_RECORD


def verb_of(case: Case) -> str:
    """What has to be done, as far as our own state tells: add, remove, check, wait or keep."""
    row = case.membership
    if row.dirty or row.intent is not None:
        known = (case.user.sys_id or row.user_sys_id) and (case.group.sys_id or row.group_sys_id)
        return "check" if known else "keep"
    if row.sys_id:
        if is_to_go(case):
            return "keep" if case.add_only else "remove"
        moved = row.user_sys_id != case.user.sys_id or row.group_sys_id != case.group.sys_id
        return "check" if moved else "keep"
    if not row.desired:
        return "keep"
    if case.user.holds_memberships and case.group.is_linked:
        return "add"
    return "wait"


def verb_checked(case: Case) -> str:
    """What has to be done once it is known whether ServiceNow has a record: add, remove or keep."""
    if is_to_go(case):
        return "keep" if case.add_only else "remove"
    return "add" if is_wanted(case) and not case.found else "keep"


def user_sys_id(case: Case) -> str:
    return case.user.sys_id or case.membership.user_sys_id


def group_sys_id(case: Case) -> str:
    return case.group.sys_id or case.membership.group_sys_id


def writes_of(case: Case) -> list[Write]:
    """The requests of one case: an insert if there is no record yet, a delete for each that is too many."""
    if case.verb == "add" and not case.found:
        user, group = user_sys_id(case), group_sys_id(case)
        return [Insert(TABLE, {"user": user, "group": group}, derived_sys_id(TABLE, group, user))]
    if case.verb in {"add", "keep"}:
        return [Delete(TABLE, sys_id) for sys_id in case.found[1:]]
    if case.verb == "remove":
        return [Delete(TABLE, sys_id) for sys_id in case.found]
    return []


def account(case: Case, outcome: Outcome) -> None:
    match outcome:
        case Written(record=record) if not outcome.dropped:
            case.found = (record["sys_id"],)
            case.result = "added"
        case Written():
            case.error = ProvisioningError(
                f"ServiceNow did not take {', '.join(outcome.dropped)} of a membership",
                code="InsufficientRights",
                recommended_action=f"Let the integration user write user and group of {TABLE}.",
            )
            case.result = "escrowed"
        case Deleted():
            case.result = "removed"
        case Refused(error=error) if error.code == "InvalidAnchor" and case.verb == "remove":
            case.result = "removed"
        case Refused(error=error):
            case.error, case.result = error, "escrowed"
        case NotProcessed(error=error) | Unknown(error=error):
            case.error, case.result = error, "retried"


def committed(case: Case) -> Membership:
    """The row as it is now known; a failed write leaves it as it was, dirty where its end is not known."""
    row = replace(case.membership, intent=None)
    if case.error is not None:
        return replace(row, intent=case.inherited, dirty=row.dirty or isinstance(case.error, FateUnknownError))
    if case.verb == "add" or (case.verb == "keep" and case.found):
        return replace(row, sys_id=case.found[0], user_sys_id=user_sys_id(case), group_sys_id=group_sys_id(case), dirty=False)
    if case.verb == "remove" or (case.verb == "keep" and (row.dirty or case.checked)):
        return replace(row, sys_id="", dirty=False)
    return row


def pair_waiter(pair: Pair) -> str:
    """How an escrow names a membership."""
    return f"pair:{pair[0]}:{pair[1]}"
