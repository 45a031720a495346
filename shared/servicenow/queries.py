"""Encoded queries as values: what is asked, how it is written, and a test of every row that comes back.

The platform drops a condition that it does not understand and runs the rest, so a query on a column that does not exist selects
the whole table (``glide.invalid_query.returns_no_rows`` is off by default). Therefore each condition knows how to test a row.
No way to escape ``^`` is documented, and ``javascript:`` in a value is evaluated on the server: such values are refused.
Sources: ServiceNow documentation, "Operators available for filters and queries", "Encoded query strings".
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from shared.errors import TerminalError
from shared.servicenow.conditions import (
    After,
    AllOf,
    AnyOf,
    Condition,
    Equals,
    Everything,
    IsEmpty,
    OneOf,
    StartsWith,
    Widened,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Condition",
    "UnsafeQueryValue",
    "after",
    "all_of",
    "any_of",
    "checked_column",
    "checked_table",
    "equals",
    "everything",
    "is_empty",
    "one_of",
    "starts_with",
    "widened",
]

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYSET_VALUE = re.compile(r"[0-9A-Za-z_.\-](?:[0-9A-Za-z_.\-: ]{0,38}[0-9A-Za-z_.\-])?")
_SHORTEST_WIDENING = 3
_MOST_GROUPS = 500


class UnsafeQueryValue(TerminalError):
    """A value cannot be asked for: the query grammar or the server would read something else in it.

    :func:`widened` gives a wider query that can be asked instead.
    """

    def __init__(self, column: str, why: str) -> None:
        super().__init__(
            f"a value for column {column} cannot be used in a query: {why}",
            recommended_action=f"Change the value of the matching attribute or mapping that feeds {column}.",
        )
        self.column = column


def equals(column: str, value: str) -> Condition:
    """``column=value``. Raises :class:`UnsafeQueryValue`; an empty value is :func:`is_empty`."""
    return Equals(checked_column(column), _checked(column, value))


def is_empty(column: str) -> Condition:
    return IsEmpty(checked_column(column))


def one_of(column: str, values: Iterable[str]) -> Condition:
    """``columnINa,b,c``. Duplicates are dropped; a comma in a value cannot be written in a list (:class:`UnsafeQueryValue`)."""
    distinct = tuple(dict.fromkeys(values))
    if not distinct:
        raise UnsafeQueryValue(column, "the list of values is empty")
    if any("," in value for value in distinct):
        raise UnsafeQueryValue(column, "it has a comma, which separates the values of a list")
    return OneOf(checked_column(column), tuple(_checked(column, value) for value in distinct))


def after(column: str, value: str) -> Condition:
    """``column>value`` for keyset paging. The cursor is held to ``[0-9A-Za-z_.-]``, blanks and colons inside, 40 characters."""
    if not _KEYSET_VALUE.fullmatch(value):
        raise UnsafeQueryValue(column, "it is no sys_id and no time")
    return After(checked_column(column), value)


def starts_with(column: str, value: str) -> Condition:
    """``columnSTARTSWITHvalue``; not for reference columns, where the platform compares the display value."""
    return StartsWith(checked_column(column), _checked(column, value))


def all_of(*conditions: Condition) -> Condition:
    parts = tuple(p for c in conditions for p in (c.parts if isinstance(c, AllOf) else (c,)) if not isinstance(p, Everything))
    if not parts:
        return Everything()
    return parts[0] if len(parts) == 1 else _writable(AllOf(parts))


def any_of(*conditions: Condition) -> Condition:
    """At least one of them; none at all would select nothing, which no query can say (ValueError)."""
    parts = tuple(p for c in conditions for p in (c.parts if isinstance(c, AnyOf) else (c,)))
    if not parts:
        raise ValueError("any_of() needs at least one condition")
    if any(isinstance(part, Everything) for part in parts):
        return Everything()
    return parts[0] if len(parts) == 1 else _writable(AnyOf(parts))


def everything() -> Condition:
    """Every row of the table: said aloud, so that it is never the result of a condition that got lost."""
    return Everything()


def widened(column: str, value: str) -> Condition | None:
    """A safe query that finds at least the rows equal to a value that cannot be asked for, or None where no part is long enough.

    It asks for the longest part without ``^``, control characters and wildcards; ``matches`` then tests the whole value.
    """
    runs = re.split(r"[\^%_,\x00-\x1f\x7f-\x9f\ud800-\udfff]", value)
    parts = [run.strip() for run in runs]
    safe = [part for part in parts if len(part) >= _SHORTEST_WIDENING and _fault(part) is None]
    if not safe:
        return None
    return Widened(checked_column(column), value, max(safe, key=len))


def checked_column(column: str) -> str:
    """The column's name, dot-walked or not, if it is one; otherwise ValueError."""
    if not _COLUMN.fullmatch(column):
        raise ValueError(f"not a column name: {column!r}")
    return column


def checked_table(table: str) -> str:
    """The table's name if it is one; otherwise ValueError."""
    if not _TABLE.fullmatch(table):
        raise ValueError(f"not a table name: {table!r}")
    return table


def _writable(condition: Condition) -> Condition:
    if len(condition.groups) > _MOST_GROUPS:
        raise ValueError("the condition has too many alternatives for one query")
    return condition


def _checked(column: str, value: str) -> str:
    fault = _fault(value)
    if fault is not None:
        raise UnsafeQueryValue(column, fault)
    return value


def _fault(value: str) -> str | None:
    if not value:
        return "it is empty"
    if value != value.strip():
        return "it begins or ends with a blank"
    if "^" in value:
        return "it has a ^, which separates conditions"
    if value.casefold().startswith("javascript:"):
        return "it begins with javascript:, which the server would execute"
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in value):
        return "it has a control character"
    return None
