"""Entries of the provisioning log about something other than an object's own way through the five steps.

An operator's decision, a dead message, a wait that is given up, a finding of the verification: each is said of the objects
that it concerns, in the log that everything else is said in.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.provisioning.summary import change_id, summarize
from shared.provisioning.work import Modified, Outcome, Work
from shared.state.joins import Join
from shared.state.log import LogEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.events import Kind
    from shared.provisioning.services import Services

_NAMESPACE = uuid.UUID("5ad1e2b4-3c55-4b7e-9a0e-0f7a5d1f8c21")


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of a subject: ``user:{id}``, ``roles:{user}``, ``group:{id}`` or ``pair:{group}:{user}``.

    What is said of a membership is said of its group. ``occasion`` makes the entry's id: the same occasion is the same entry,
    however often it is written.
    """

    subject: str
    occasion: str
    description: str
    outcome: Outcome
    modified: tuple[Modified, ...] = ()
    display: str = ""
    sys_id: str = ""


async def write_remarks(services: Services, remarks: Sequence[Remark], *, cycle_id: str = "", initiated_by: str = "") -> None:
    """Write an entry for each."""
    at = services.clock()
    context = services.log_context(cycle_id, initiated_by)
    entries = []
    for remark in remarks:
        kind, object_id = subject_of(remark.subject)
        change = change_id(str(uuid.uuid5(_NAMESPACE, remark.occasion)), remark.subject)
        join = Join(kind=kind, object_id=object_id, sys_id=remark.sys_id)
        work = Work(kind, object_id, change, join, display=remark.display or object_id)
        work.reason = remark.description
        error = remark.outcome.error
        details = {"errorCode": error.code} if error is not None else {"SkipReason": remark.outcome.detail}
        work.note("EntrySynchronizationSkip", "processing", remark.outcome.status, remark.description, **details)
        work.modified += remark.modified
        work.end(remark.outcome)
        entries.append(LogEntry(at, change, object_id, summarize(work, context, at, at)))
    await services.log.write(entries)


def subject_of(waiter: str) -> tuple[Kind, str]:
    """The kind and id of the object that a waiter is about; a membership is about its group."""
    kind, _, rest = waiter.partition(":")
    return ("user", rest) if kind in {"user", "memberOf", "roles"} else ("group", rest.partition(":")[0])
