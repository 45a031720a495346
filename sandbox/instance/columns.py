"""Finding a column by its dot-walked path and reading its value or display value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .table import Table

if TYPE_CHECKING:
    from .dictionary import Column, Row

type Tables = Mapping[str, Table]

TIMESTAMP = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class ColumnPath:
    """A column reached over zero or more references; each hop is a reference column and the table it leads to."""

    hops: tuple[tuple[str, Table], ...]
    column: Column

    def read(self, row: Row) -> str:
        """Return the value at the end of the path, ``""`` where a reference on the way is empty or dangling."""
        for name, table in self.hops:
            following = table.get(row.get(name, ""))
            if following is None:
                return ""
            row = following
        return row.get(self.column.name, "")


def resolve(tables: Tables, table: Table, path: str) -> ColumnPath | None:
    """Return the column at ``path`` (such as ``manager.user_name``), or None if any part of it does not exist."""
    hops: list[tuple[str, Table]] = []
    *walk, last = path.split(".")
    for name in walk:
        column = table.column(name)
        if column is None or column.reference not in tables:
            return None
        table = tables[column.reference]
        hops.append((name, table))
    found = table.column(last)
    return None if found is None else ColumnPath(tuple(hops), found)


class Labels:
    """Display values: the name behind a reference, the label of a choice, a time in the user's zone."""

    __slots__ = ("_tables", "utc_offset")

    def __init__(self, tables: Tables, *, utc_offset: float) -> None:
        self._tables = tables
        self.utc_offset = utc_offset

    def of(self, table: str, column: Column, value: str) -> str:
        """Return what a user would see for ``value``; a dangling reference shows nothing."""
        if not value:
            return ""
        if column.type == "reference":
            return self.of_record(column.reference, value)
        if column.type == "glide_date_time":
            return self._local(value)
        return self._choice(table, column.name, value) or value

    def of_record(self, table: str, sys_id: str) -> str:
        if table not in self._tables:
            return ""
        target = self._tables[table]
        row = target.get(sys_id)
        return "" if row is None else row.get(target.definition.display, "")

    def choice_value(self, table: str, column: str, label: str) -> str | None:
        """Return the stored value of the choice with this label, or None."""
        for choice in self._choices(table, column):
            if choice.get("label", "").casefold() == label.casefold():
                return choice.get("value", "")
        return None

    def _choice(self, table: str, column: str, value: str) -> str | None:
        return next((row.get("label") for row in self._choices(table, column) if row.get("value") == value), None)

    def _choices(self, table: str, column: str) -> list[Row]:
        choices = self._tables["sys_choice"]
        found = (choices.get(sys_id) for sys_id in choices.matches("element", column))
        return [row for row in found if row is not None and row.get("name") == table]

    def _local(self, value: str) -> str:
        try:
            return (datetime.strptime(value, TIMESTAMP) + timedelta(hours=self.utc_offset)).strftime(TIMESTAMP)  # noqa: DTZ007 - stored without a zone, as on the wire
        except ValueError:
            return value
