"""What happened to memberships, in the provisioning log: one entry per group and event, as an update of the group."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.provisioning.membership_cases import group_sys_id
from shared.provisioning.summary import change_id, summarize
from shared.provisioning.work import Modified, Outcome, Work
from shared.state.log import LogEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.provisioning.membership_cases import Case
    from shared.provisioning.services import Services


async def log_memberships(services: Services, cases: Sequence[Case], event_id: str, cycle_id: str, started: datetime) -> None:
    """Write an entry for each group with a membership that was written, failed, or waits. Members appear by their ids."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        if case.result not in {"unchanged", "retried", "lost", "held"}:
            groups.setdefault(case.membership.group_id, []).append(case)
    ended = services.clock()
    entries = []
    for group_id, members in groups.items():
        work = _work(group_id, members, change_id(event_id, group_id))
        document = summarize(work, services.log_context(cycle_id), started, ended)
        entries.append(LogEntry(ended, work.change_id, group_id, document))
    await services.log.write(entries)


def _work(group_id: str, members: Sequence[Case], change: str) -> Work:
    # The group may be gone by now, and its link with it: the entry still names the record whose members these were.
    group = replace(members[0].group, sys_id=group_sys_id(members[0]))
    work = Work(kind="group", object_id=group_id, change_id=change, join=group, display=group_id)
    by_result: dict[str, list[str]] = {}
    for case in members:
        by_result.setdefault(case.result, []).append(case.membership.user_id)
    added, removed = by_result.get("added", []), by_result.get("removed", [])
    matched, waiting = by_result.get("matched", []), by_result.get("waiting", [])
    if added or removed:
        description = f"Group '{group_id}': {len(added)} members were added, {len(removed)} removed in ServiceNow"
        work.note("EntryExportUpdate", "export", "success", description)
        work.modified += [Modified("members", None, user) for user in added]
        work.modified += [Modified("members", user, None) for user in removed]
    if matched:
        work.note("EntryImport", "matching", "success", f"{len(matched)} members were there already")
    if waiting:
        description = (
            f"{len(waiting)} members of group '{group_id}' are not provisioned in ServiceNow yet: each is added when he is. "
            "(UnableToResolveReferenceAttributeValue)"
        )
        work.note("EntrySynchronizationSkip", "referenceResolution", "warning", description, members=",".join(waiting))
    staged = by_result.get("staged", [])
    if staged:
        description = f"{len(staged)} removals from group '{group_id}' are held for a decision: the limit of 24 hours is reached"
        work.note("EntryStagedDelete", "export", "skipped", description, members=",".join(staged))
    failed = [case for case in members if case.error is not None]
    for case in failed:
        assert case.error is not None  # noqa: S101 - filtered right above
        work.note(
            "EntryExportUpdate",
            "export",
            "failure",
            f"The membership of {case.membership.user_id} could not be written: {case.error.reason}",
            errorCode=case.error.code,
        )
    if failed:
        work.end(Outcome("escrowed", "update", "failure", failed[0].error))
    elif staged and not (added or removed):
        work.end(Outcome("staged", "stageddelete", "skipped", detail="StagedDelete"))
    elif added or removed:
        work.end(Outcome("updated", "update", "warning" if waiting else "success"))
    else:
        work.end(Outcome("skipped", "other", "skipped", detail="RedundantExport" if matched else "WaitsForMembers"))
    return work
