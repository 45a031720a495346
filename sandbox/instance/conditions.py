"""Turning one condition of an encoded query into a test on a row.

Semantics as documented in "Operators available for filters and queries": an empty value matches empty, ``!=`` also
matches empty, text operators on a reference look at the display value. Values are compared without regard to case,
operators and column names with it. A value that starts with ``javascript:`` is run on a real server; here it is
counted and its condition holds for every row, which is what an attacker would want it to do.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from .columns import TIMESTAMP, ColumnPath, Labels, Tables, resolve
from .dictionary import Column, Row
from .encoded_query import Condition, EncodedQuery

if TYPE_CHECKING:
    from .table import Collation, Table

type Test = Callable[[Row], bool]
type ValueTest = Callable[[str], bool]

DYNAMIC_ME: Final = "90d1921e5f510100a9ad2572f2b477fe"
"""The sys_id of the dynamic filter option "Me"."""

RANGE_OPERATORS: Final = frozenset({"<", ">", "<=", ">=", "BETWEEN", "STARTSWITH", "ENDSWITH", "LIKE", "NOT LIKE"}) | {
    f"RELATIVE{direction}" for direction in ("GE", "GT", "LE", "LT")
}
"""Operators that need the query_range access rule (ServiceNow docs, "Query ACLs")."""

_ORDERINGS: Final = frozenset({"<", ">", "<=", ">="})
_NUMERIC: Final = frozenset({"integer", "decimal", "float"})
COMPARISONS: Final[dict[str, Callable[[float | str, float | str], bool]]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_FIELD_COMPARISONS: Final = {
    "GT_FIELD": ">",
    "LT_FIELD": "<",
    "GT_OR_EQUALS_FIELD": ">=",
    "LT_OR_EQUALS_FIELD": "<=",
}
_RELATIVE: Final = {"RELATIVEGE": ">=", "RELATIVEGT": ">", "RELATIVELE": "<=", "RELATIVELT": "<"}
_UNITS: Final = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "dayofweek": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "quarter": timedelta(days=91),
    "year": timedelta(days=365),
}
_DAYS_BACK: Final = {
    "Today": (0, 0),
    "Yesterday": (1, 1),
    "Last 7 days": (7, 0),
    "Last 30 days": (30, 0),
    "Last 90 days": (90, 0),
}


@dataclass(frozen=True, slots=True)
class Scripts:
    """How often a query value was evaluated as a script."""

    count: Callable[[], None]

    def runs(self, value: str) -> bool:
        """Return whether the value, or an item of its list, is a script; it then counts as evaluated."""
        if "javascript:" not in value or not any(item.startswith("javascript:") for item in (value, *value.split(","))):
            return False
        self.count()
        return True


@dataclass(frozen=True, slots=True)
class ConditionCompiler:
    """What a condition needs to know beyond its own text: tables, collation, the time, who asks."""

    tables: Tables
    collation: Collation
    labels: Labels
    scripts: Scripts
    now: datetime
    caller_id: str

    def test(self, table: Table, condition: Condition) -> Test | None:
        """Return the test for ``condition``, or None where its column, operator or value is not valid."""
        if condition.operator == "RLQUERY":
            return self._related_list(condition)
        if condition.operator == "JOIN":
            return self._join(condition)
        if condition.operator == "TEXTQUERY":
            words = self.collation.fold(condition.value).split()
            return lambda row: all(any(word in self.collation.fold(cell) for cell in row.values()) for word in words)
        path = resolve(self.tables, table, condition.field)
        if path is None or not condition.operator:
            return None
        if condition.operator != "ON" and self.scripts.runs(condition.value):
            return _always
        if condition.operator in _FIELD_COMPARISONS or condition.operator in {"SAMEAS", "NSAMEAS"}:
            return self._between_columns(table, path, condition)
        if condition.operator == "IN_HIERARCHY":
            return self._in_hierarchy(path, condition.value)
        value_test = self._value_test(table, path, condition)
        return None if value_test is None else _on(path, value_test)

    def _value_test(self, table: Table, path: ColumnPath, condition: Condition) -> ValueTest | None:
        name, value = condition.operator, condition.value
        if name in {"LIKE", "NOT LIKE", "STARTSWITH", "ENDSWITH"}:
            return self._text_test(table, path.column, name, value)
        if name in _ORDERINGS:
            return _ordering_test(name, _key(path.column, value, self.collation), path.column, self.collation)
        if name == "BETWEEN":
            low, _, high = value.partition("@")
            above = _ordering_test(">=", _key(path.column, low, self.collation), path.column, self.collation)
            below = _ordering_test("<=", _key(path.column, high, self.collation), path.column, self.collation)
            return lambda cell: above(cell) and below(cell)
        if name in _RELATIVE:
            return self._relative(name, value)
        if name == "ON":
            return self._on_day(value)
        if name == "DYNAMIC":
            return (lambda cell: cell == self.caller_id) if value == DYNAMIC_ME else None
        return self._equality_test(path.column, name, value)

    def _equality_test(self, column: Column, name: str, value: str) -> ValueTest | None:
        fold = self.collation.fold
        if name in {"ISEMPTY", "EMPTYSTRING"}:
            return lambda cell: not cell
        if name == "ISNOTEMPTY":
            return bool
        if name == "ANYTHING":
            return lambda _: True
        items = value.split(",") if name in {"IN", "NOT IN"} else [value]
        wanted = {fold(stored_boolean(item) if column.type == "boolean" and item else item) for item in items}
        if name in {"=", "IN", "INSTANCEOF"}:
            return lambda cell: fold(cell) in wanted
        if name in {"!=", "NOT IN"}:
            return lambda cell: fold(cell) not in wanted
        return None

    def _text_test(self, table: Table, column: Column, name: str, value: str) -> ValueTest:
        fold, wanted = self.collation.fold, self.collation.fold(value)

        def shown(cell: str) -> str:
            return fold(self.labels.of(table.name, column, cell) if column.type == "reference" else cell)

        if name == "LIKE":
            return lambda cell: wanted in shown(cell)
        if name == "NOT LIKE":
            return lambda cell: wanted not in shown(cell)
        if name == "STARTSWITH":
            return lambda cell: shown(cell).startswith(wanted)
        return lambda cell: shown(cell).endswith(wanted)

    def _between_columns(self, table: Table, path: ColumnPath, condition: Condition) -> Test | None:
        other = resolve(self.tables, table, condition.value.partition("@")[0])
        if other is None:
            return None
        if condition.operator in {"SAMEAS", "NSAMEAS"}:
            same = condition.operator == "SAMEAS"
            return lambda row: (self.collation.fold(path.read(row)) == self.collation.fold(other.read(row))) is same
        compare = COMPARISONS[_FIELD_COMPARISONS[condition.operator]]

        def test(row: Row) -> bool:
            left, right = (_key(path.column, side.read(row), self.collation) for side in (path, other))
            return left is not None and right is not None and compare(left, right)

        return test

    def _in_hierarchy(self, path: ColumnPath, root: str) -> Test | None:
        table = self.tables.get(path.column.reference)
        if table is None or not table.indexed("parent"):
            return None
        below, found = [root], {root}
        while below:
            children = [child for child in table.matches("parent", below.pop()) if child not in found]
            found.update(children)
            below.extend(children)
        return lambda row: path.read(row) in found

    def _relative(self, name: str, value: str) -> ValueTest | None:
        try:
            _, unit, direction, number = value.split("@")
            distance = _UNITS[unit] * int(number)
        except (KeyError, ValueError):
            return None
        moment = (self.now - distance if direction == "ago" else self.now + distance).strftime(TIMESTAMP)
        compare = COMPARISONS[_RELATIVE[name]]
        return lambda cell: bool(cell) and compare(cell, moment)

    def _on_day(self, value: str) -> ValueTest | None:
        name = value.partition("@")[0]
        if name in _DAYS_BACK:
            first, last = ((self.now - timedelta(days=days)).strftime("%Y-%m-%d") for days in _DAYS_BACK[name])
        else:
            try:
                first = last = datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d")
            except ValueError:
                return None
        return lambda cell: first <= cell[:10] <= last

    def _related_list(self, condition: Condition) -> Test | None:
        table_name, _, column = condition.field.partition(".")
        table = self.tables.get(table_name)
        if table is None or not table.indexed(column):
            return None
        inner = self.row_test(table, condition.inner or EncodedQuery())
        comparison = condition.value.rstrip("0123456789")
        number = float(condition.value.removeprefix(comparison))
        compare = COMPARISONS[comparison]

        def test(row: Row) -> bool:
            related = (table.get(sys_id) for sys_id in table.matches(column, row["sys_id"]))
            return compare(float(sum(1 for item in related if item is not None and inner(item))), number)

        return test

    def _join(self, condition: Condition) -> Test | None:
        table_name, _, column = condition.field.partition(".")
        table = self.tables.get(table_name)
        if table is None or not table.indexed(column):
            return None
        inner = self.row_test(table, condition.inner or EncodedQuery())

        def test(row: Row) -> bool:
            value = row.get(condition.value, "")
            related = (table.get(sys_id) for sys_id in table.matches(column, value)) if value else ()
            return any(inner(item) for item in related if item is not None)

        return test

    def row_test(self, table: Table, query: EncodedQuery) -> Test:
        """Return one test for a whole query; parts that are not valid are left out."""
        groups: list[list[list[Test]]] = []
        for group in query.groups:
            junctions = ([test for condition in junction if (test := self.test(table, condition))] for junction in group)
            groups.append([junction for junction in junctions if junction])
        return lambda row: any(all(any(test(row) for test in junction) for junction in group) for group in groups)


def stored_boolean(value: str) -> str:
    """Return how a true/false column keeps the value."""
    return "true" if value.strip().casefold() in {"true", "1", "yes", "on"} else "false"


def sort_key(column: Column, value: str, collation: Collation) -> tuple[int, float, str]:
    """Return the value's place in an ORDERBY: empty first, numbers as numbers, text by collation."""
    key = _key(column, value, collation)
    if key is None:
        return (0, 0.0, "")
    return (1, key, "") if isinstance(key, float) else (1, 0.0, key)


def _key(column: Column, value: str, collation: Collation) -> float | str | None:
    if not value:
        return None
    if column.type not in _NUMERIC:
        return value if column.name == "sys_id" else collation.fold(value)
    try:
        return float(value)
    except ValueError:
        return None


def _ordering_test(name: str, wanted: float | str | None, column: Column, collation: Collation) -> ValueTest:
    compare = COMPARISONS[name]

    def test(cell: str) -> bool:
        key = _key(column, cell, collation)
        if wanted is None:
            return key is not None and name in {">", ">="}
        return key is not None and compare(key, wanted)

    return test


def _on(path: ColumnPath, value_test: ValueTest) -> Test:
    if path.hops:
        return lambda row: value_test(path.read(row))
    name = path.column.name
    return lambda row: value_test(row.get(name, ""))


def _always(_: Row) -> bool:
    return True
