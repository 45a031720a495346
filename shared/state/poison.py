"""Messages that could not be processed in any of their tries, kept until an operator replays or drops them.

Only what identifies objects is kept, never what was read about them: ``text`` is an event of ids alone, or empty where nothing
of a message can be used. A second kind of row remembers why an event failed, because a queue's message does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.state.leases import moment
from shared.state.tables import Operation, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from shared.state.tables import Tables

_TABLE = "poison"
_DEAD, _FAILURES = "dead", "failure"


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """One of them. ``id`` is a digest of the message, so that it is kept once; ``queue`` is where it came from."""

    id: str
    queue: str
    kind: str = ""
    text: str = ""
    reason: str = ""
    subjects: int = 0
    size: int = 0
    moved_at: datetime | None = None


class DeadMessages:
    """Write, list and remove them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def write(self, message: DeadMessage) -> None:
        properties = row(
            _DEAD,
            message.id,
            queue=message.queue,
            kind=message.kind,
            text_0=message.text[:30_000],
            text_1=message.text[30_000:],
            reason=message.reason,
            subjects=message.subjects,
            size=message.size,
            moved_at=message.moved_at.isoformat() if message.moved_at else None,
        )
        await self._tables.upsert(_TABLE, properties)

    async def get_many(self, ids: Sequence[str]) -> list[DeadMessage]:
        """Those of the messages that are there."""
        rows = await self._tables.get_many(_TABLE, [(_DEAD, message_id) for message_id in ids])
        return [_from_row(found) for found in rows if found is not None]

    async def some(self, *, until: datetime, limit: int) -> list[DeadMessage]:
        """Messages that were moved here up to a moment."""
        condition = "PartitionKey eq @dead and moved_at le @until"
        rows = await self._tables.query(_TABLE, condition, {"dead": _DEAD, "until": until.isoformat()}, limit=limit)
        return [_from_row(found) for found in rows]

    async def page(self, *, size: int, token: dict[str, str] | None) -> tuple[list[DeadMessage], dict[str, str] | None]:
        rows, following = await self._tables.page(_TABLE, "PartitionKey eq @dead", {"dead": _DEAD}, size=size, token=token)
        return [_from_row(found) for found in rows], following

    async def count(self) -> int:
        return len(await self._tables.query(_TABLE, "PartitionKey eq @dead", {"dead": _DEAD}, select=["kind"]))

    async def remove(self, ids: Sequence[str]) -> None:
        await self._tables.apply(_TABLE, [Operation("delete", row(_DEAD, message_id)) for message_id in ids])

    async def note_failure(self, event_id: str, reason: str, at: datetime) -> None:
        """Remember why an event failed in one of its tries."""
        await self._tables.upsert(_TABLE, row(_FAILURES, event_id, reason=reason, at=at.isoformat()))

    async def failure_of(self, event_id: str) -> str:
        found = await self._tables.get(_TABLE, _FAILURES, event_id)
        return str(found["reason"]) if found is not None else ""

    async def sweep(self, before: datetime) -> None:
        """Forget failures of events that succeeded later."""
        condition = "PartitionKey eq @failures and at lt @before"
        parameters = {"failures": _FAILURES, "before": before.isoformat()}
        rows = await self._tables.query(_TABLE, condition, parameters, select=["at"], limit=1000)
        await self._tables.apply(_TABLE, [Operation("delete", found) for found in rows])


def _from_row(found: Mapping[str, Any]) -> DeadMessage:
    return DeadMessage(
        id=str(found["RowKey"]),
        queue=str(found["queue"]),
        kind=str(found.get("kind", "")),
        text=f"{found.get('text_0', '')}{found.get('text_1', '')}",
        reason=str(found.get("reason", "")),
        subjects=int(found.get("subjects", 0)),
        size=int(found.get("size", 0)),
        moved_at=moment(found.get("moved_at")),
    )
