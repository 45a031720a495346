"""Rows of one table with the indexes that keep equality and keyset queries cheap on large tables.

A row is a mapping of column name to text that is never changed in place, so a snapshot or a page that is being written
can keep it. Empty values are not stored.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .dictionary import Column, Row, TableDefinition


class Collation:
    """How the database compares text: without regard to case, on some instances without regard to accents."""

    __slots__ = ("_accent_insensitive",)

    def __init__(self, *, accent_insensitive: bool) -> None:
        self._accent_insensitive = accent_insensitive

    def fold(self, text: str) -> str:
        """Return the text's comparison key."""
        if text.isascii() or not self._accent_insensitive:
            return text.casefold()
        return "".join(mark for mark in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(mark))


class Table:
    """The rows of one table, ordered by sys_id, with an index on every searchable column."""

    __slots__ = ("_fold", "_ids", "_indexes", "_rows", "columns", "definition", "name")

    def __init__(self, definition: TableDefinition, collation: Collation) -> None:
        self.name = definition.name
        self.definition = definition
        self.columns = definition.columns
        self._fold = collation.fold
        self._rows: dict[str, Row] = {}
        self._ids: list[str] = []
        self._indexes: dict[str, dict[str, list[str]]] = {
            column.name: {} for column in definition.columns.values() if column.searchable and column.name != "sys_id"
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, sys_id: str) -> bool:
        return sys_id in self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    @property
    def ids(self) -> Sequence[str]:
        """Every sys_id in ascending order."""
        return self._ids

    def get(self, sys_id: str) -> Row | None:
        return self._rows.get(sys_id)

    def rows(self) -> list[Row]:
        """Return the present rows; later writes do not change the list or its members."""
        return list(self._rows.values())

    def column(self, name: str) -> Column | None:
        return self.columns.get(name)

    def indexed(self, column: str) -> bool:
        return column == "sys_id" or column in self._indexes

    def matches(self, column: str, value: str) -> Sequence[str]:
        """Return the sys_ids, ascending, of the rows whose indexed column equals a value that is not empty."""
        if column == "sys_id":
            exact = value if value in self._rows else value.casefold()
            return (exact,) if exact in self._rows else ()
        return self._indexes[column].get(self._fold(value), ())

    def put(self, row: Row) -> None:
        """Insert or replace the row with this sys_id."""
        sys_id = row["sys_id"]
        before = self._rows.get(sys_id)
        if before is None:
            insort(self._ids, sys_id)
        for column, index in self._indexes.items():
            was, now = (before.get(column, "") if before else ""), row.get(column, "")
            if was == now:
                continue
            if was:
                self._unlist(index, was, sys_id)
            if now:
                insort(index.setdefault(self._fold(now), []), sys_id)
        self._rows[sys_id] = row

    def remove(self, sys_id: str) -> Row | None:
        """Delete and return the row, or None if there is none."""
        row = self._rows.pop(sys_id, None)
        if row is None:
            return None
        del self._ids[bisect_left(self._ids, sys_id)]
        for column, index in self._indexes.items():
            if value := row.get(column, ""):
                self._unlist(index, value, sys_id)
        return row

    def _unlist(self, index: dict[str, list[str]], value: str, sys_id: str) -> None:
        key = self._fold(value)
        bucket = index[key]
        del bucket[bisect_left(bucket, sys_id)]
        if not bucket:
            del index[key]


def between(ids: Sequence[str], low: tuple[str, bool] | None, high: tuple[str, bool] | None) -> Sequence[str]:
    """Return the part of an ascending list between two bounds, each a value and whether the value itself belongs."""
    start = 0 if low is None else (bisect_left if low[1] else bisect_right)(ids, low[0])
    end = len(ids) if high is None else (bisect_right if high[1] else bisect_left)(ids, high[0])
    return ids[start:end]
