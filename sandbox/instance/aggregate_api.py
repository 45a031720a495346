"""The Aggregate API: ``/api/now[/v1]/stats/{table}`` (ServiceNow docs, "Aggregate API")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .answers import ApiAnswer, ApiRequest, RefusalError, json_answer
from .columns import ColumnPath, resolve
from .conditions import COMPARISONS
from .encoded_query import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .access import Caller
    from .dictionary import Row
    from .instance import Instance
    from .table import Table

_FUNCTIONS: Final = ("avg", "min", "max", "sum")


@dataclass(frozen=True, slots=True)
class Having:
    """``aggregate^column^operator^value``: which groups are kept."""

    aggregate: str
    column: str
    operator: str
    value: float


@dataclass(frozen=True, slots=True)
class AggregateApi:
    """Answers Aggregate API calls on an instance."""

    instance: Instance

    def handle(self, request: ApiRequest, caller: Caller, segments: Sequence[str]) -> ApiAnswer:
        """Answer with an object for the whole table, or with a list where groups are asked for."""
        if request.method != "GET":
            raise RefusalError(405, "Method not supported", f"{request.method} {request.path}")
        table = self.instance.table(segments[0])
        ids = self.instance.find(table.name, parse(request.params.get("sysparm_query", "")), caller)
        rows = [row for sys_id in ids if (row := table.get(sys_id)) is not None]
        names = [name for name in request.params.get("sysparm_group_by", "").split(",") if name]
        if not names:
            return json_answer(200, {"result": {"stats": self._stats(request, table, rows)}})
        return json_answer(200, {"result": self._grouped(request, table, rows, names)})

    def _grouped(self, request: ApiRequest, table: Table, rows: Iterable[Row], names: Sequence[str]) -> list[dict[str, Any]]:
        paths = [(name, path) for name in names if (path := resolve(self.instance.tables, table, name)) is not None]
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(path.read(row) for _, path in paths), []).append(row)
        having = _having(request.params.get("sysparm_having", ""))
        written: list[dict[str, Any]] = []
        for key, members in sorted(groups.items()):
            if having is not None and not self._keeps(having, table, members):
                continue
            pairs = zip(paths, key, strict=True)
            fields = [{"value": self._shown(request, table, path, value), "field": name} for (name, path), value in pairs]
            written.append({"stats": self._stats(request, table, members), "groupby_fields": fields})
        return written

    def _shown(self, request: ApiRequest, table: Table, path: ColumnPath, value: str) -> str:
        if request.params.get("sysparm_display_value", "false") == "false":
            return value
        owner = path.hops[-1][1].name if path.hops else table.name
        return self.instance.labels.of(owner, path.column, value)

    def _stats(self, request: ApiRequest, table: Table, rows: Sequence[Row]) -> dict[str, Any]:
        stats: dict[str, Any] = {"count": str(len(rows))} if request.flag("sysparm_count") else {}
        for function in _FUNCTIONS:
            names = [name for name in request.params.get(f"sysparm_{function}_fields", "").split(",") if name]
            values = {name: self._aggregate(function, table, name, rows) for name in names}
            if known := {name: value for name, value in values.items() if value is not None}:
                stats[function] = {name: _number(value, function) for name, value in known.items()}
        return stats

    def _aggregate(self, function: str, table: Table, name: str, rows: Iterable[Row]) -> float | None:
        path = resolve(self.instance.tables, table, name)
        if path is None:
            return None
        numbers = [number for row in rows if (number := _as_number(path.read(row))) is not None]
        if function == "sum":
            return sum(numbers)
        if not numbers:
            return None
        return sum(numbers) / len(numbers) if function == "avg" else (min if function == "min" else max)(numbers)

    def _keeps(self, having: Having, table: Table, rows: Sequence[Row]) -> bool:
        value = float(len(rows)) if having.aggregate == "count" else self._aggregate(having.aggregate, table, having.column, rows)
        return value is not None and COMPARISONS[having.operator](value, having.value)


def _having(text: str) -> Having | None:
    parts = text.split("^")
    number = _as_number(parts[-1])
    if len(parts) != 4 or number is None or parts[0] not in {"count", *_FUNCTIONS} or parts[2] not in COMPARISONS:  # noqa: PLR2004 - aggregate^column^operator^value
        return None
    return Having(parts[0], parts[1], parts[2], number)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _number(value: float | None, function: str) -> str:
    return "" if value is None else f"{value:.4f}" if function == "avg" else f"{value:g}"
