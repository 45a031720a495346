"""What columns a table has: from sys_dictionary, its parents' columns included, or from a record where that is unreadable.

A column that does not exist is dropped from queries and writes without a word, so every column of a mapping is verified before
it is used. Source: ServiceNow documentation, "System dictionary" (sys_dictionary) and "Tables" (sys_db_object).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.errors import RefusedError, SchemaMismatchError
from shared.servicenow.queries import everything, one_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.servicenow.client import ServiceNowClient
    from shared.servicenow.records import Record

_log = logging.getLogger("provisioning.servicenow")
_DEEPEST: Final = 10
_FIELDS: Final = ("name", "element", "internal_type", "max_length", "reference", "mandatory", "read_only", "unique")
_UNREADABLE = (RefusedError, SchemaMismatchError)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``max_length`` in characters; None, like every unknown flag's False, where the dictionary was unreadable."""

    name: str
    internal_type: str = ""
    max_length: int | None = None
    reference: str = ""
    mandatory: bool = False
    read_only: bool = False
    unique: bool = False


@dataclass(frozen=True, slots=True)
class TableDictionary:
    """A table's columns by name. ``source`` is ``sys_dictionary``, ``record`` (the keys of a sample) or ``none``."""

    table: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    source: str = "none"
    parents: tuple[str, ...] = ()

    def __contains__(self, column: str) -> bool:
        return column in self.columns


@dataclass(frozen=True, slots=True)
class ColumnFault:
    """Why a column cannot be used as the mapping wants to, and what to do about it."""

    table: str
    column: str
    problem: str
    recommended_action: str


async def load_dictionary(client: ServiceNowClient, tables: Iterable[str]) -> dict[str, TableDictionary]:
    """The dictionaries of these tables. Raises what the client raises, but for a dictionary that may not be read.

    A parent's column that a child overrides in sys_dictionary keeps the child's properties.
    """
    wanted = tuple(dict.fromkeys(tables))
    if not wanted:
        return {}
    lineage = await _lineage(client, wanted)
    rows = await _dictionary_rows(client, {name for line in lineage.values() for name in line})
    loaded = {}
    for table in wanted:
        columns: dict[str, Column] = {}
        for ancestor in reversed(lineage[table]):
            columns |= {row["element"]: _column(row) for row in rows if row["name"] == ancestor and row["element"]}
        if columns:
            loaded[table] = TableDictionary(table, columns, "sys_dictionary", tuple(lineage[table][1:]))
        else:
            loaded[table] = await _from_a_record(client, table)
    return loaded


def verify_columns(
    dictionary: TableDictionary,
    *,
    read: Iterable[str] = (),
    written: Iterable[str] = (),
    references: Mapping[str, str] | None = None,
) -> list[ColumnFault]:
    """The columns that are missing, read-only though written, or no reference to the table that the mapping expects.

    ``references`` maps columns to the tables that they must point at. A dot-walk is verified by its first part.
    """
    table, written, references = dictionary.table, tuple(written), references or {}
    named = dict.fromkeys(column.partition(".")[0] for column in (*read, *written, *references))
    missing = [
        ColumnFault(table, name, "does not exist, or is hidden from us", f"Correct the mapping, or add {name} to {table}.")
        for name in named
        if name not in dictionary
    ]
    read_only = [
        ColumnFault(table, name, "is read-only", f"Take {name} out of the mapping of {table}.")
        for name in written
        if name in dictionary and dictionary.columns[name].read_only
    ]
    misdirected = [
        ColumnFault(table, name, _points_at(actual, target), f"Correct the reference of {name} in the mapping.")
        for name, target in references.items()
        if name in dictionary and (actual := dictionary.columns[name].reference) != target
    ]
    return [*missing, *read_only, *(misdirected if dictionary.source == "sys_dictionary" else [])]


def _points_at(actual: str, target: str) -> str:
    return f"refers to {actual}, not to {target}" if actual else f"is no reference, though {target} is expected"


async def _lineage(client: ServiceNowClient, tables: Sequence[str]) -> dict[str, list[str]]:
    """Each table followed by its ancestors, nearest first; without them where sys_db_object may not be read."""
    parents: dict[str, str] = {}
    unknown = set(tables)
    for _ in range(_DEEPEST):
        if not unknown:
            break
        try:
            rows = await client.select("sys_db_object", one_of("name", sorted(unknown)), ("name", "super_class.name"))
        except _UNREADABLE as error:
            _log.warning("sys_db_object cannot be read (%s): columns inherited from parent tables are not known", error.code)
            break
        found = {row["name"]: row["super_class.name"] for row in rows}
        parents |= dict.fromkeys(unknown, "") | found
        unknown = {parent for parent in found.values() if parent and parent not in parents}
    return {table: _line(table, parents) for table in tables}


def _line(table: str, parents: Mapping[str, str]) -> list[str]:
    line = [table]
    while (parent := parents.get(line[-1], "")) and parent not in line:
        line.append(parent)
    return line


async def _dictionary_rows(client: ServiceNowClient, tables: set[str]) -> list[Record]:
    try:
        return await client.select("sys_dictionary", one_of("name", sorted(tables)), _FIELDS)
    except _UNREADABLE as error:
        _log.warning("sys_dictionary cannot be read (%s): columns are taken from a sample record", error.code)
        return []


async def _from_a_record(client: ServiceNowClient, table: str) -> TableDictionary:
    try:
        rows = await client.sample(table, everything())
    except _UNREADABLE:
        rows = []
    names = {name for row in rows for name in row}
    return TableDictionary(table, {name: Column(name) for name in sorted(names)}, "record" if names else "none")


def _column(row: Record) -> Column:
    length = row["max_length"]
    return Column(
        name=row["element"],
        internal_type=row["internal_type"],
        max_length=int(length) if length.isdecimal() else None,
        reference=row["reference"],
        mandatory=row["mandatory"] == "true",
        read_only=row["read_only"] == "true",
        unique=row["unique"] == "true",
    )
