"""Names to sys_ids in bulk: for departments, locations, companies, cost centres and users by name.

Names are not unique in these tables, and the platform itself would pick any of several or, with dynamic creation, make a new
row. So exactly one row must match; none and several are answers of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.servicenow.collation import collates, fold
from shared.servicenow.queries import Condition, UnsafeQueryValue, any_of, equals, one_of, widened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.servicenow.client import ServiceNowClient
    from shared.servicenow.records import Record

_EQUALS_PER_QUERY: Final = 20


@dataclass(frozen=True, slots=True)
class Resolved:
    """The one row. ``exact`` is False where the names are equal only by the platform's collation; ``name`` is the row's."""

    sys_id: str
    name: str
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Missing:
    """No row that we can see; ``askable`` is False where no query for the name can be written, so that nothing is proven."""

    name: str
    askable: bool = True


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several rows: none is taken."""

    name: str
    sys_ids: tuple[str, ...]


type Resolution = Resolved | Missing | Ambiguous


async def resolve_names(client: ServiceNowClient, table: str, column: str, names: Iterable[str]) -> dict[str, Resolution]:
    """What each name stands for in ``column`` of ``table``, by as few queries as the values allow.

    One row with the very same name wins over others that are equal only by collation. Raises what
    :meth:`ServiceNowClient.select` raises.
    """
    distinct = tuple(dict.fromkeys(names))
    conditions, unaskable = _conditions(column, distinct)
    rows: dict[str, Record] = {}
    for condition in conditions:
        rows.update((row["sys_id"], row) for row in await client.select(table, condition, (column,)))
    by_fold: dict[str, list[Record]] = {}
    for row in rows.values():
        by_fold.setdefault(fold(row[column]), []).append(row)
    return {
        name: Missing(name, askable=False) if name in unaskable else _resolution(name, column, by_fold, rows) for name in distinct
    }


def _conditions(column: str, names: Sequence[str]) -> tuple[list[Condition], frozenset[str]]:
    """Queries that together find every name, and the names for which none can be written."""
    listed: list[str] = []
    single: list[Condition] = []
    wide: list[Condition] = []
    unaskable = set()
    for name in names:
        try:
            exact = equals(column, name)
        except UnsafeQueryValue:
            wider = widened(column, name)
            if wider is None:
                unaskable.add(name)
            else:
                wide.append(wider)
            continue
        if "," in name:
            single.append(exact)
        else:
            listed.append(name)
    conditions = [one_of(column, listed)] if listed else []
    conditions += [any_of(*single[start : start + _EQUALS_PER_QUERY]) for start in range(0, len(single), _EQUALS_PER_QUERY)]
    return [*conditions, *wide], frozenset(unaskable)


def _resolution(name: str, column: str, by_fold: dict[str, list[Record]], rows: dict[str, Record]) -> Resolution:
    equal = by_fold.get(fold(name)) or [row for row in rows.values() if collates(row[column], name)]
    exact = [row for row in equal if row[column] == name]
    candidates = exact or equal
    if not candidates:
        return Missing(name)
    if len(candidates) > 1:
        return Ambiguous(name, tuple(sorted(row["sys_id"] for row in candidates)))
    return Resolved(candidates[0]["sys_id"], candidates[0][column], exact=bool(exact))
