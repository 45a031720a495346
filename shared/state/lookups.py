"""What ServiceNow answered for names of reference records, kept so that an unchanged user costs no request.

One row per table and name: the sys_id, or the finding that there is none (or more than one), with the time of the answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.state.leases import moment
from shared.state.tables import Operation, row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.state.tables import Tables

_TABLE = "references"


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer for one name: ``sys_id`` is empty when there is none; ``ambiguous`` when there are several."""

    table: str
    name: str
    sys_id: str
    ambiguous: bool
    at: datetime


class Lookups:
    """Read and write answers."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get_many(self, table: str, names: Sequence[str]) -> dict[str, Lookup]:
        """The kept answers by name; names that were never asked for are left out."""
        rows = await self._tables.get_many(_TABLE, [(table, _key(name)) for name in names])
        lookups: dict[str, Lookup] = {}
        for name, found in zip(names, rows, strict=True):
            at = moment(found["at"]) if found else None
            if found is not None and at is not None:
                lookups[name] = Lookup(table, name, str(found["sys_id"]), bool(found["ambiguous"]), at)
        return lookups

    async def write(self, lookups: Sequence[Lookup]) -> None:
        operations = [
            Operation(
                "upsert",
                row(lookup.table, _key(lookup.name), sys_id=lookup.sys_id, ambiguous=lookup.ambiguous, at=lookup.at.isoformat()),
            )
            for lookup in lookups
        ]
        await self._tables.apply(_TABLE, operations)

    async def forget_all(self) -> None:
        """Everything that was looked up is asked for again."""
        rows = await self._tables.query(_TABLE, select=["at"])
        await self._tables.apply(_TABLE, [Operation("delete", row(found["PartitionKey"], found["RowKey"])) for found in rows])

    async def forget(self, table: str, names: Sequence[str]) -> None:
        for name in names:
            await self._tables.delete(_TABLE, table, _key(name))


def _key(name: str) -> str:
    """Names hold characters that a row key may not."""
    return hashlib.sha256(name.encode()).hexdigest()[:40]
