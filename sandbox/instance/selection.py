"""Running an encoded query on a table: validity, the choice of an index, order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .columns import resolve
from .conditions import RANGE_OPERATORS, ConditionCompiler, Test, sort_key
from .table import Table, between

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .dictionary import Row
    from .encoded_query import Condition, EncodedQuery, Group, Junction

type Bound = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is remarkable about a query: parts that are not valid, and whether it needs the query_range rule."""

    invalid: tuple[str, ...]
    ranged: bool


@dataclass(slots=True)
class Selector:
    """Selects rows of one table for one request; each condition is compiled once."""

    compiler: ConditionCompiler
    table: Table
    _tests: dict[Condition, Test | None] = field(default_factory=dict)

    def inspect(self, query: EncodedQuery) -> Inspection:
        """Return the parts that an instance would drop, columns of the sort order included."""
        conditions = [condition for group in query.groups for junction in group for condition in junction]
        invalid = [condition.field for condition in conditions if self._test(condition) is None]
        invalid += [name for name, _ in query.order if resolve(self.compiler.tables, self.table, name) is None]
        return Inspection(tuple(invalid), any(condition.operator in RANGE_OPERATORS for condition in conditions))

    def select(self, query: EncodedQuery) -> Sequence[str]:
        """Return the sys_ids of the matching rows in the order asked for, by sys_id where none is."""
        if len(query.groups) == 1:
            ids = self._group(query.groups[0])
        else:
            ids = sorted(set().union(*(self._group(group) for group in query.groups)))
        return self._ordered(ids, query.order)

    def _group(self, group: Group) -> Sequence[str]:
        valid = [kept for junction in group if (kept := self._valid(junction))]
        low, high, rest = self._bounds(valid)
        base, covered = self._smallest(rest)
        ids = between(base, low, high)
        tests = [self._any(junction) for junction in rest if junction is not covered]
        if not tests:
            return ids
        rows = ((sys_id, self.table.get(sys_id)) for sys_id in ids)
        return [sys_id for sys_id, row in rows if row is not None and all(test(row) for test in tests)]

    def _valid(self, junction: Junction) -> Junction:
        return tuple(condition for condition in junction if self._test(condition) is not None)

    def _test(self, condition: Condition) -> Test | None:
        if condition not in self._tests:
            self._tests[condition] = self.compiler.test(self.table, condition)
        return self._tests[condition]

    def _any(self, junction: Junction) -> Test:
        tests = [test for condition in junction if (test := self._test(condition)) is not None]
        if len(tests) == 1:
            return tests[0]
        return lambda row: any(test(row) for test in tests)

    @staticmethod
    def _bounds(junctions: Iterable[Junction]) -> tuple[Bound | None, Bound | None, list[Junction]]:
        low: Bound | None = None
        high: Bound | None = None
        rest: list[Junction] = []
        for junction in junctions:
            only = junction[0]
            if len(junction) > 1 or only.field != "sys_id" or only.operator[:1] not in {"<", ">"} or _scripted(only):
                rest.append(junction)
                continue
            bound = (only.value, only.operator.endswith("="))
            if only.operator.startswith(">"):
                low = bound if low is None else max(low, bound, key=lambda item: (item[0], not item[1]))
            else:
                high = bound if high is None else min(high, bound, key=lambda item: (item[0], item[1]))
        return low, high, rest

    def _smallest(self, junctions: Iterable[Junction]) -> tuple[Sequence[str], Junction | None]:
        base, covered = self.table.ids, None
        for junction in junctions:
            candidates = self._candidates(junction)
            if candidates is not None and (covered is None or len(candidates) < len(base)):
                base, covered = candidates, junction
        return base, covered

    def _candidates(self, junction: Junction) -> Sequence[str] | None:
        found: list[Sequence[str]] = []
        for condition in junction:
            values = condition.value.split(",") if condition.operator == "IN" else [condition.value]
            if condition.operator not in {"=", "IN"} or not all(values) or _scripted(condition):
                return None
            matches = _lookup(self.compiler, self.table, condition.field.split("."), values)
            if matches is None:
                return None
            found.append(matches)
        return found[0] if len(found) == 1 else sorted(set().union(*found))

    def _ordered(self, ids: Sequence[str], order: Sequence[tuple[str, bool]]) -> Sequence[str]:
        if not order:
            return ids
        name, descending = order[0]
        if name == "sys_id":
            return ids[::-1] if descending else ids
        rows = [row for sys_id in ids if (row := self.table.get(sys_id)) is not None]
        for path, backwards in reversed(order):
            self._sort(rows, path, backwards=backwards)
        return [row["sys_id"] for row in rows]

    def _sort(self, rows: list[Row], name: str, *, backwards: bool) -> None:
        path = resolve(self.compiler.tables, self.table, name)
        if path is None:
            return
        column, labels, collation = path.column, self.compiler.labels, self.compiler.collation

        def key(row: Row) -> tuple[int, float, str]:
            value = path.read(row)
            shown = labels.of_record(column.reference, value) or value if column.type == "reference" else value
            return sort_key(column, shown, collation)

        rows.sort(key=key, reverse=backwards)


def _scripted(condition: Condition) -> bool:
    return "javascript:" in condition.value


def _lookup(compiler: ConditionCompiler, table: Table, path: Sequence[str], values: Sequence[str]) -> Sequence[str] | None:
    """Return the sys_ids whose column equals one of the values by index, over references too; None without an index."""
    name = path[0]
    column = table.column(name)
    if column is None or not table.indexed(name):
        return None
    if len(path) > 1:
        target = compiler.tables.get(column.reference)
        reached = None if target is None else _lookup(compiler, target, path[1:], values)
        if reached is None:
            return None
        values = reached
    buckets = [table.matches(name, value) for value in values]
    return buckets[0] if len(buckets) == 1 else sorted(set().union(*buckets))
