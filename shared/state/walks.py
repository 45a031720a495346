"""Where a walk over everything that is provisioned stands, what it has counted, and what it has mended too often.

A walk (verification, plan) is a chain of its own: one row, moved by compare-and-set with its counts, so that a step that is
processed twice counts once. It has no watermark and touches none.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shared.state.leases import moment
from shared.state.tables import Exists, Operation, Stale, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from shared.events import Walk
    from shared.state.tables import Tables

_TABLE, _PARTITION = "watermarks", "walk"
_REPAIRS_TABLE, _REPAIRS = "progress", "repairs"
_PART = 30_000


@dataclass(frozen=True, slots=True)
class WalkMark:
    """The row of a walk. ``position`` is its own matter; ``run`` is empty while it never ran."""

    walk: Walk
    run: str = ""
    step: int = 0
    running: bool = False
    position: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    started_at: datetime | None = None
    heartbeat: datetime | None = None
    finished_at: datetime | None = None
    etag: str = ""


class WalkMarks:
    """Read and move them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, walk: Walk) -> WalkMark:
        found = await self._tables.get(_TABLE, _PARTITION, walk)
        return WalkMark(walk) if found is None else _from_row(walk, found)

    async def move(self, before: WalkMark, **changes: Any) -> WalkMark | None:
        """Compare and set; None when somebody else moved it since it was read."""
        after = replace(before, **changes)
        try:
            if before.etag:
                etag = await self._tables.replace(_TABLE, _to_row(after), before.etag)
            else:
                etag = await self._tables.insert(_TABLE, _to_row(after))
        except (Stale, Exists):
            return None
        return replace(after, etag=etag)


class Repairs:
    """How often each attribute of each record was mended lately."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def counts(self, keys: Sequence[str], since: datetime) -> Counter[str]:
        rows = await self._tables.get_many(_REPAIRS_TABLE, [(_REPAIRS, key) for key in keys])
        counts: Counter[str] = Counter()
        for key, found in zip(keys, rows, strict=True):
            counts[key] = len(_times(found, since)) if found is not None else 0
        return counts

    async def add(self, keys: Sequence[str], at: datetime, since: datetime) -> None:
        rows = await self._tables.get_many(_REPAIRS_TABLE, [(_REPAIRS, key) for key in keys])
        operations = []
        for key, found in zip(keys, rows, strict=True):
            times = [*(_times(found, since) if found is not None else []), at]
            properties = row(_REPAIRS, key, times=json.dumps([time.isoformat() for time in times]))
            operations.append(Operation("upsert", properties))
        await self._tables.apply(_REPAIRS_TABLE, operations)


def _times(found: Mapping[str, Any], since: datetime) -> list[datetime]:
    held = (moment(text) for text in json.loads(str(found["times"])))
    return [time for time in held if time is not None and time >= since]


def _to_row(mark: WalkMark) -> dict[str, Any]:
    position = json.dumps(dict(mark.position))
    parts = [position[start : start + _PART] for start in range(0, len(position), _PART)]
    times = {
        name: value.isoformat()
        for name in ("started_at", "heartbeat", "finished_at")
        if (value := getattr(mark, name)) is not None
    }
    return row(
        _PARTITION,
        mark.walk,
        run=mark.run,
        step=mark.step,
        running=mark.running,
        counts=json.dumps(dict(mark.counts)),
        error=mark.error,
        parts=len(parts),
        **{f"position_{number}": part for number, part in enumerate(parts)},
        **times,
    )


def _from_row(walk: Walk, found: Mapping[str, Any]) -> WalkMark:
    return WalkMark(
        walk=walk,
        run=str(found["run"]),
        step=int(found["step"]),
        running=bool(found["running"]),
        position=json.loads("".join(str(found[f"position_{number}"]) for number in range(int(found["parts"])))),
        counts=json.loads(str(found["counts"])),
        error=str(found.get("error", "")),
        started_at=moment(found.get("started_at")),
        heartbeat=moment(found.get("heartbeat")),
        finished_at=moment(found.get("finished_at")),
        etag=str(found["etag"]),
    )
