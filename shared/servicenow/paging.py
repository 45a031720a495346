"""Keyset paging as plain values: which window of a table to ask for, and what an answer says about the next one.

``sysparm_limit`` is applied before access rules, so a short or empty page is not the end: only ``X-Total-Count``, counted before
them too, tells how far the window reached (KB3047115; the same rule as in ConductorOne/baton-servicenow).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from shared.errors import ProtocolError
from shared.servicenow.conditions import AllOf, Condition, OneOf
from shared.servicenow.queries import UnsafeQueryValue, after, all_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.servicenow.records import Record

MOST_VALUES: Final = 100
_SHRINK = 4
_HEX_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of ``condition`` with a sys_id beyond ``last``, from ``offset`` on, at most ``size`` of them, in order of sys_id."""

    condition: Condition
    size: int
    last: str | None = None
    offset: int = 0

    @property
    def rest(self) -> Condition:
        """The condition together with the keyset cursor."""
        return self.condition if self.last is None else all_of(self.condition, after("sys_id", self.last))

    def parameters(self, fields: Sequence[str]) -> list[tuple[str, str]]:
        """The query string: stored values instead of display values, and no links."""
        encoded = self.rest.encode()
        return [
            ("sysparm_query", f"{encoded}^ORDERBYsys_id" if encoded else "ORDERBYsys_id"),
            *stored_values(fields),
            ("sysparm_limit", str(self.size)),
            ("sysparm_offset", str(self.offset)),
        ]

    def following(self, rows: Sequence[Record], total: int) -> Window | None:
        """The window after this one, or None if ``total`` rows, hidden ones included, were within it."""
        if self.offset + self.size >= total:
            return None
        if not rows:
            return replace(self, offset=self.offset + self.size)
        last = rows[-1]["sys_id"]
        try:
            after("sys_id", last)
        except UnsafeQueryValue:
            raise ProtocolError("a sys_id with characters that no sys_id has: paging stops") from None
        return replace(self, last=last, offset=0)

    def smaller(self) -> Window | None:
        """The same rows in a smaller page, or None if it is one row already."""
        return replace(self, size=max(1, self.size // _SHRINK)) if self.size > 1 else None


def stored_values(fields: Sequence[str]) -> list[tuple[str, str]]:
    """The parameters of every read and write: the columns wanted (none: all), as stored."""
    columns = [("sysparm_fields", ",".join(fields))] if fields else []
    return [*columns, ("sysparm_display_value", "false"), ("sysparm_exclude_reference_link", "true")]


def split(condition: Condition) -> list[Condition]:
    """The condition as several whose value lists have at most 100 values; a row satisfies one of them at most once each."""
    parts = list(condition.parts) if isinstance(condition, AllOf) else [condition]
    for position, part in enumerate(parts):
        if isinstance(part, OneOf) and len(part.values) > MOST_VALUES:
            chunks = [part.values[start : start + MOST_VALUES] for start in range(0, len(part.values), MOST_VALUES)]
            return [
                smaller
                for chunk in chunks
                for smaller in split(all_of(*parts[:position], OneOf(part.column, chunk), *parts[position + 1 :]))
            ]
    return [condition]


def out_of_order(rows: Sequence[Record]) -> bool:
    """Whether hexadecimal sys_ids come in any order but ascending; of others the collation's order is not known."""
    ids = [row["sys_id"] for row in rows if _HEX_ID.fullmatch(row["sys_id"])]
    return any(left >= right for left, right in itertools.pairwise(ids))
