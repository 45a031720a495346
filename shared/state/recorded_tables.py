"""Tables that are read from storage and written to memory: what a preview and a plan work on, so that nothing of them remains.

What was written here is seen by later reads, with the same ETag rules as in storage, so that the engine cannot tell the
difference. A lease that a worker holds in storage is not seen: who only looks need not wait for it.
"""

from __future__ import annotations

import asyncio
import operator
import re
from typing import TYPE_CHECKING, Any, override

from shared.state.tables import Exists, Operation, Row, Stale, Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TERM = re.compile(
    r"(?P<name>\w+) (?P<comparison>eq|ne|gt|ge|lt|le) (?:@(?P<parameter>\w+)|(?P<text>'[^']*')|(?P<flag>true|false))"
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_HOLDER = "lease_holder"

type _Rows = dict[tuple[str, str], Row | None]


class RecordedTables(Tables):
    """``beneath`` is read, never written. ``rows_written`` tells what would be."""

    def __init__(self, beneath: Tables) -> None:
        self._beneath = beneath
        self._written: dict[str, _Rows] = {}
        self._versions = 0
        #: One write at a time: whether a row is as expected is asked beneath, which takes a while.
        self._writing = asyncio.Lock()
        self.requests = {}

    @override
    async def aclose(self) -> None:
        """The tables beneath belong to somebody else."""

    @override
    async def ensure(self) -> None:
        """Nothing is made: a table that is missing is one without rows."""

    def rows_written(self, table: str) -> list[Row]:
        """The rows of a table that would be there now because of what was written here."""
        return [dict(found) for found in self._written.get(table, {}).values() if found is not None]

    @override
    async def get(self, table: str, partition: str, key: str) -> Row | None:
        written = self._written.get(table, {})
        if (partition, key) in written:
            found = written[partition, key]
            return None if found is None else dict(found)
        return _unleased(await self._beneath.get(table, partition, key))

    @override
    async def query(
        self,
        table: str,
        condition: str = "",
        parameters: Mapping[str, Any] | None = None,
        *,
        select: Sequence[str] | None = None,
        limit: int = 0,
    ) -> list[Row]:
        written = self._written.get(table, {})
        enough = limit + len(written) if limit else 0
        rows: _Rows = {}
        for found in await self._beneath.query(table, condition, parameters, select=select, limit=enough):
            rows[_key(found)] = _unleased(found)
        for key, changed in written.items():
            rows.pop(key, None)
            if changed is not None and _satisfies(changed, condition, parameters or {}):
                rows[key] = dict(changed)
        ordered = [found for _, found in sorted(rows.items()) if found is not None]
        return ordered[:limit] if limit else ordered

    @override
    async def page(
        self, table: str, condition: str, parameters: Mapping[str, Any], *, size: int, token: dict[str, str] | None
    ) -> tuple[list[Row], dict[str, str] | None]:
        """As storage has it: pages are read for operators, who do not ask from within a preview."""
        return await self._beneath.page(table, condition, parameters, size=size, token=token)

    @override
    async def delete(self, table: str, partition: str, key: str, etag: str = "") -> None:
        async with self._writing:
            await self._drop(table, (partition, key), etag)

    @override
    async def transact(self, table: str, operations: Sequence[Operation]) -> list[str]:
        async with self._writing:
            before = dict(self._written.get(table, {}))
            try:
                return [await self._one(table, part) for part in operations]
            except (Stale, Exists):
                self._written[table] = before
                raise

    @override
    async def _write(self, table: str, verb: str, row: Mapping[str, Any], etag: str = "") -> str:
        async with self._writing:
            return await self._put(table, verb, row, etag)

    async def _one(self, table: str, part: Operation) -> str:
        if part.verb == "delete":
            await self._drop(table, _key(part.row), part.etag)
            return ""
        return await self._put(table, part.verb, part.row, part.etag)

    async def _drop(self, table: str, key: tuple[str, str], etag: str) -> None:
        found = await self.get(table, *key)
        if etag and (found is None or found["etag"] != etag):
            raise Stale(f"{table}/{key[0]}/{key[1]}")
        self._written.setdefault(table, {})[key] = None

    async def _put(self, table: str, verb: str, row: Mapping[str, Any], etag: str) -> str:
        key = _key(row)
        found = await self.get(table, *key)
        name = f"{table}/{key[0]}/{key[1]}"
        if verb == "insert" and found is not None:
            raise Exists(name)
        if etag and (found is None or found["etag"] != etag):
            raise Stale(name)
        merged = {**(found or {}), **row} if verb in {"merge", "merge-upsert"} else dict(row)
        self._versions += 1
        merged["etag"] = f"recorded-{self._versions}"
        self._written.setdefault(table, {})[key] = merged
        return str(merged["etag"])


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row["PartitionKey"]), str(row["RowKey"])


def _unleased(row: Row | None) -> Row | None:
    return {**row, _HOLDER: ""} if row is not None and row.get(_HOLDER) else row


def _satisfies(row: Row, condition: str, parameters: Mapping[str, Any]) -> bool:
    """Judge the conditions that the stores write: comparisons joined by ``and``."""
    for term in condition.split(" and ") if condition else ():
        parsed = _TERM.fullmatch(term.strip())
        if parsed is None:
            raise ValueError(f"the condition cannot be judged in memory: {term}")
        if parsed["parameter"]:
            wanted = parameters[parsed["parameter"]]
        else:
            wanted = parsed["text"][1:-1] if parsed["text"] is not None else parsed["flag"] == "true"
        held = row.get(parsed["name"])
        if held is None or not _COMPARISONS[parsed["comparison"]](held, wanted):
            return False
    return True
