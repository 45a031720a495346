"""A row of a table as the app sees it: column names and strings.

The Table API answers strings only; with ``sysparm_display_value=false`` and ``sysparm_exclude_reference_link=true`` a reference
is its sys_id, an empty one ``""``. Columns that the caller may not read, or that do not exist, are silently absent.
Source: ServiceNow documentation, "Table API".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import ProtocolError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable

type Record = dict[str, str]


class UnreadableColumns(SchemaMismatchError):
    """Columns that were asked for are missing in the answer: they do not exist, or the caller may not read them."""

    def __init__(self, table: str, columns: Iterable[str]) -> None:
        self.table = table
        self.columns = tuple(sorted(columns))
        names = ", ".join(self.columns)
        super().__init__(
            f"columns of {table} do not exist or cannot be read: {names}",
            recommended_action=f"Correct the mapping, or let the integration user read {names} of {table}.",
        )


def read_record(row: Any, table: str) -> Record:
    """The row's values as strings. Raises ProtocolError if it is no JSON object."""
    if not isinstance(row, dict):
        raise ProtocolError(f"a row of {table} is no JSON object")
    return {str(column): plain_value(value) for column, value in row.items()}


def plain_value(value: Any) -> str:
    """The stored value behind any shape that the Table API gives: a string, ``{"value": ..., "link": ...}``, a JSON scalar."""
    if isinstance(value, dict):
        value = value.get("value")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def missing_columns(record: Record, wanted: Iterable[str]) -> set[str]:
    """Columns wanted but absent; a dot-walk through an empty reference counts as empty and is filled in."""
    missing = set()
    for column in wanted:
        if column in record:
            continue
        root, dot, _ = column.partition(".")
        if dot and record.get(root) == "":
            record[column] = ""
        else:
            missing.add(column)
    return missing
