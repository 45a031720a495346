"""What a plan found: one row per difference, and what it has seen of the directory, until the next plan begins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.state.tables import Operation, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.state.tables import Row, Tables

_TABLE = "plans"
#: A property holds 32 Ki units of UTF-16, and a character may take two.
_PART = 16_000
_SEEN = 400
_RANGE = "PartitionKey ge @first and PartitionKey lt @last"
_KINDS = ({"first": "plan-", "last": "plan."}, {"first": "seen-", "last": "seen."})


class Plans:
    """Write and read them. ``run`` is the plan's id."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def write(self, run: str, step: int, differences: Sequence[Mapping[str, Any]]) -> None:
        """Differences of one step, in their order; written again they are the same rows."""
        operations = []
        for number, difference in enumerate(differences):
            text = json.dumps(difference, separators=(",", ":"), ensure_ascii=False)
            parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
            properties = {f"document_{index}": part for index, part in enumerate(parts)}
            operations.append(Operation("upsert", row(f"plan-{run}", f"{step:08d}-{number:05d}", parts=len(parts), **properties)))
        await self._tables.apply(_TABLE, operations)

    async def page(
        self, run: str, *, size: int, token: dict[str, str] | None
    ) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
        rows, following = await self._tables.page(
            _TABLE, "PartitionKey eq @plan", {"plan": f"plan-{run}"}, size=size, token=token
        )
        return [_document(found) for found in rows], following

    async def note_seen(self, run: str, kind: str, step: int, ids: Sequence[str]) -> None:
        """Objects that the directory named in this step."""
        parts = [ids[start : start + _SEEN] for start in range(0, len(ids), _SEEN)]
        await self._tables.apply(
            _TABLE,
            [
                Operation("upsert", row(f"seen-{run}-{kind}", f"{step:08d}-{number:05d}", ids=",".join(part)))
                for number, part in enumerate(parts)
            ],
        )

    async def seen(self, run: str, kind: str) -> frozenset[str]:
        rows = await self._tables.query(_TABLE, "PartitionKey eq @seen", {"seen": f"seen-{run}-{kind}"})
        return frozenset(object_id for found in rows for object_id in str(found["ids"]).split(","))

    async def forget_others(self, run: str) -> None:
        """Remove every other plan's rows."""
        rows = [found for kind in _KINDS for found in await self._tables.query(_TABLE, _RANGE, kind, select=["parts"])]
        stale = [found for found in rows if not _belongs(str(found["PartitionKey"]), run)]
        await self._tables.apply(_TABLE, [Operation("delete", row(found["PartitionKey"], found["RowKey"])) for found in stale])


def _belongs(partition: str, run: str) -> bool:
    return partition == f"plan-{run}" or partition.startswith(f"seen-{run}-")


def _document(found: Row) -> dict[str, Any]:
    text = "".join(str(found[f"document_{number}"]) for number in range(int(found["parts"])))
    document: dict[str, Any] = json.loads(text)
    return document
