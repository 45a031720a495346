"""A client that reads the instance and keeps the writes: nothing of a preview or a plan arrives in ServiceNow.

Later reads see what was written: an inserted record is found by a query that it satisfies, an updated one holds its new values,
a deleted one is gone. A record that an update moves *into* a query is not found by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from shared.servicenow.client import ServiceNowClient
from shared.servicenow.sys_ids import derived_sys_id
from shared.servicenow.writes import Delete, Deleted, Insert, Outcome, Update, Write, Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.servicenow.queries import Condition
    from shared.servicenow.records import Record
    from shared.servicenow.writing import OnSend


class RecordedClient(ServiceNowClient):
    """``writes``: what would have been sent, in order. Every write counts as taken in full by the instance."""

    def __init__(self, live: ServiceNowClient) -> None:
        self._live = live
        self.instance_url = live.instance_url
        self.auth = live.auth
        self.writes: list[Write] = []
        self._inserted: dict[str, dict[str, Record]] = {}
        #: Table -> sys_id -> new values; None: deleted.
        self._changed: dict[str, dict[str, Record | None]] = {}

    @override
    async def aclose(self) -> None:
        """The client beneath belongs to somebody else."""

    @property
    @override
    def batches(self) -> bool:
        return self._live.batches

    @override
    async def select(self, table: str, condition: Condition, fields: Iterable[str], *, page_size: int = 1000) -> list[Record]:
        columns = tuple(dict.fromkeys((*fields, "sys_id", *sorted(condition.columns))))
        rows = [self._present(table, row) for row in await self._live.select(table, condition, columns, page_size=page_size)]
        made = [_shown(row, columns) for row in self._inserted.get(table, {}).values()]
        return [row for row in (*rows, *made) if row is not None and condition.matches(row)]

    @override
    async def sample(self, table: str, condition: Condition, fields: Iterable[str] = (), *, limit: int = 20) -> list[Record]:
        return await self._live.sample(table, condition, fields, limit=limit)

    @override
    async def get(self, table: str, sys_id: str, fields: Iterable[str]) -> Record | None:
        made = self._inserted.get(table, {}).get(sys_id)
        if made is not None:
            return _shown(made, tuple(fields))
        row = await self._live.get(table, sys_id, fields)
        return None if row is None else self._present(table, row)

    @override
    async def count(self, table: str, condition: Condition) -> int:
        return await self._live.count(table, condition)

    @override
    async def try_batch(self) -> None:
        await self._live.try_batch()

    @override
    async def write(
        self, writes: Sequence[Write], *, deadline: float | None = None, on_send: OnSend | None = None
    ) -> list[Outcome]:
        self.writes += writes
        return [self._keep(write) for write in writes]

    def _keep(self, write: Write) -> Outcome:
        match write:
            case Insert(table=table, values=values, sys_id=sys_id):
                made = {**values, "sys_id": sys_id or derived_sys_id(table, str(len(self.writes)))}
                self._inserted.setdefault(table, {})[made["sys_id"]] = made
                return Written(made)
            case Update(table=table, sys_id=sys_id, values=values, before=before):
                if sys_id in self._inserted.get(table, {}):
                    self._inserted[table][sys_id] |= values
                else:
                    changed = self._changed.setdefault(table, {})
                    changed[sys_id] = {**(changed.get(sys_id) or {}), **values}
                return Written({**before, **values, "sys_id": sys_id})
            case Delete(table=table, sys_id=sys_id):
                self._inserted.get(table, {}).pop(sys_id, None)
                self._changed.setdefault(table, {})[sys_id] = None
                return Deleted()

    def _present(self, table: str, row: Record) -> Record | None:
        """A row of the instance as it would be now."""
        changed = self._changed.get(table, {}).get(row["sys_id"], {})
        return None if changed is None else {column: changed.get(column, value) for column, value in row.items()}


def _shown(row: Record, columns: Sequence[str]) -> Record:
    return {column: row.get(column, "") for column in (*columns, "sys_id")}
