"""Verification of one group's memberships: rows of state against rows of sys_user_grmember."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import UnavailableError
from shared.events import PairsDue, chunks, new_id
from shared.provisioning.membership_cases import TABLE
from shared.provisioning.remarks import Remark, write_remarks
from shared.provisioning.work import Outcome
from shared.servicenow.queries import equals, everything
from shared.state.memberships import Membership

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.provisioning.services import Services
    from shared.state.joins import Join

_PAGE = 1000
_MEMBERS = "members"
#: How a member is called whose record belongs to nobody of Entra ID.
_LOCAL = "record-"


async def verify_members(services: Services, group: Join, run: str) -> Counter[str]:
    """Compare, and queue what is to be mended. Raises ``UnavailableError`` when no row of the table can be seen at all."""
    mapping = services.mapping("group")
    members = mapping.attribute(_MEMBERS) if mapping is not None else None
    if mapping is None or members is None:
        return Counter()
    rows = await _rows(services, group.object_id)
    found: dict[str, list[str]] = {}
    for record in await services.servicenow.select(TABLE, equals("group", group.sys_id), ("sys_id", "user", "group")):
        found.setdefault(record["user"], []).append(record["sys_id"])
    written = [row for row in rows if row.sys_id and row.group_sys_id == group.sys_id]
    if written and not found and not await services.servicenow.sample(TABLE, everything(), ("sys_id",), limit=1):
        raise UnavailableError(
            f"ServiceNow shows no row of {TABLE} at all, so that an empty answer proves nothing",
            retry_after=300.0,
            code="InsufficientRights",
            recommended_action=f"Let the integration user read {TABLE}.",
        )
    # Rows that changed while the table was read are passed over.
    present = {row.pair: row.etag for row in await _rows(services, group.object_id)}
    counts: Counter[str] = Counter()
    due: list[tuple[str, str]] = []
    for row in rows:
        records = found.pop(row.user_sys_id, []) if row.user_sys_id else []
        if present.get(row.pair) != row.etag or row.dirty or row.intent is not None or row.lease_holder or not row.desired:
            continue
        if len(records) > 1:
            counts["duplicateMember"] += len(records) - 1
            due.append(row.pair)
        elif row.sys_id and not records and members.drift != "ignore":
            counts["missingMember"] += 1
            if members.drift == "repair":
                due.append(row.pair)
    await services.memberships.mark_dirty(due)
    counts["foreignMember"] = sum(map(len, found.values()))
    if mapping.options.members == "authoritative":
        due += await _claim_foreign(services, group, found, rows)
    await services.queues.send_all(PairsDue(pairs=tuple(part), reason="verify", cycle_id=run) for part in chunks(due))
    await _report(services, group, counts, run)
    return +counts


async def _rows(services: Services, group_id: str) -> list[Membership]:
    rows: list[Membership] = []
    while True:
        page = await services.memberships.of_group(group_id, after=rows[-1].user_id if rows else "", limit=_PAGE)
        rows += page
        if len(page) < _PAGE:
            return rows


async def _claim_foreign(
    services: Services, group: Join, found: dict[str, list[str]], rows: Sequence[Membership]
) -> list[tuple[str, str]]:
    """Make rows for members whom somebody else added, as memberships that are not wanted: removed (and guarded) like others."""
    owners = await services.owners.owners("sys_user", list(found))
    known = {row.user_id for row in rows}
    mark = await services.watermarks.get("groups")
    foreign = [
        Membership(
            group.object_id,
            user_id,
            desired=False,
            generation=mark.generation,
            page=mark.page,
            sys_id=records[0],
            user_sys_id=user,
            group_sys_id=group.sys_id,
        )
        for user, records in found.items()
        if (user_id := owners.get(user) or f"{_LOCAL}{user}") not in known
    ]
    await services.memberships.index([row.pair for row in foreign])
    taken = await services.memberships.take(foreign, new_id())
    held = [(replace(row, etag=outcome.lease.etag), outcome.lease) for row, outcome in taken if outcome.lease is not None]
    await services.memberships.write(held, keep=False)
    return [row.pair for row, _ in held]


async def _report(services: Services, group: Join, counts: Counter[str], run: str) -> None:
    told = {name: number for name, number in counts.items() if number and name != "foreignMember"}
    if told:
        text = ", ".join(f"{number} {name}" for name, number in sorted(told.items()))
        outcome = Outcome("skipped", "other", "warning", detail="Drift")
        occasion = f"{run} members {group.object_id}"
        subject = f"group:{group.object_id}"
        await write_remarks(services, [Remark(subject, occasion, text, outcome, sys_id=group.sys_id)], cycle_id=run)
