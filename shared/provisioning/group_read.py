"""The members of one group, read from Graph as a whole: what an operator's request needs, and nothing else does.

Everything else follows the groups' delta chain. A read like this one takes its place in the order of that chain: it counts as
of the page at which the chain stood when the read began, so that later pages win over it and earlier ones do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.events import MembersChanged, chunks
from shared.state.memberships import Membership

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.provisioning.services import Services
    from shared.state.watermarks import Watermark

#: Memberships written while the operator waits; the rest is queued. About ten seconds of a slow instance.
NOW = 200
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class MembersRead:
    """What a read of a group's members led to. ``counts``: results by name, as in the log."""

    inside: int
    changes: int
    counts: Mapping[str, int]
    queued: int = 0
    busy: int = 0

    @property
    def failed(self) -> bool:
        return bool(self.counts.get("escrowed") or self.counts.get("retried"))


async def read_group(services: Services, group_id: str, event_id: str, *, only: tuple[str, ...] | None = None) -> MembersRead:
    """Read all members, note what differs from our rows, write the first ``NOW`` differences and queue the rest.

    ``only``: look at these users alone. A member who left is taken out because the read is complete, or has raised.
    """
    read_at = services.clock()
    mark = await services.watermarks.get("groups")
    inside = await services.nesting.users_of(group_id)
    known = await _rows(services, group_id)
    considered = sorted((inside | known.keys()) if only is None else set(only))
    differing = [
        replace(row, desired=user in inside, generation=mark.generation, page=mark.page, read_at=read_at)
        for user in considered
        if _differs(row := known.get(user, Membership(group_id, user)), wanted=user in inside)
    ]
    now, later = differing[:NOW], differing[NOW:]
    await services.memberships.index([row.pair for row in now if row.desired])
    busy, counts = await services.members.reconcile_rows(now, event_id, "")
    await _queue(services, group_id, mark, read_at, later)
    return MembersRead(len(inside), len(differing), counts, len(later), len(busy))


def _differs(row: Membership, *, wanted: bool) -> bool:
    return row.desired is not wanted or bool(row.sys_id) is not wanted or row.dirty or row.intent is not None


async def _rows(services: Services, group_id: str) -> dict[str, Membership]:
    rows: dict[str, Membership] = {}
    after = ""
    while True:
        page = await services.memberships.of_group(group_id, after=after, limit=_PAGE)
        rows |= {row.user_id: row for row in page}
        if len(page) < _PAGE:
            return rows
        after = page[-1].user_id


async def _queue(services: Services, group_id: str, mark: Watermark, read_at: datetime, rows: list[Membership]) -> None:
    await services.queues.send_all(
        MembersChanged(
            group_id=group_id,
            generation=mark.generation,
            page=mark.page,
            chunk=number,
            cycle_id="",
            read_at=read_at,
            added=tuple(row.user_id for row in part if row.desired),
            removed=tuple(row.user_id for row in part if not row.desired),
        )
        for number, part in enumerate(chunks(rows))
    )
