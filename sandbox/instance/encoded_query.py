"""Reading ServiceNow's encoded queries into conditions. Nothing here knows a table.

Source: ServiceNow docs, "Operators available for filters and queries" and "Encoded query strings". The text is cut at
every ``^``: no way to escape one is documented, and none is offered here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Condition:
    """``field operator value``. An operator of ``""`` marks a part that could not be read; ``field`` is then the part.

    ``inner`` holds the conditions inside RLQUERY or after the ``!`` of a JOIN.
    """

    field: str
    operator: str
    value: str = ""
    inner: EncodedQuery | None = None


type Junction = tuple[Condition, ...]  # joined by OR
type Group = tuple[Junction, ...]  # joined by AND


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """Groups joined by ``^NQ`` (OR of whole groups) and the sort order as (field, descending)."""

    groups: tuple[Group, ...] = ((),)
    order: tuple[tuple[str, bool], ...] = ()
    group_by: tuple[str, ...] = ()


_OPERATORS: Final = (
    "GT_OR_EQUALS_FIELD",
    "LT_OR_EQUALS_FIELD",
    "IN_HIERARCHY",
    "EMPTYSTRING",
    "ISNOTEMPTY",
    "INSTANCEOF",
    "RELATIVEGE",
    "RELATIVEGT",
    "RELATIVELE",
    "RELATIVELT",
    "STARTSWITH",
    "ENDSWITH",
    "ANYTHING",
    "NOT LIKE",
    "NOTLIKE",
    "GT_FIELD",
    "LT_FIELD",
    "ISEMPTY",
    "BETWEEN",
    "DYNAMIC",
    "NSAMEAS",
    "NOT IN",
    "NOT_IN",
    "SAMEAS",
    "LIKE",
    "ON",
    "IN",
    "!*",
    "!=",
    "<=",
    ">=",
    "=",
    "<",
    ">",
    "*",
    "%",
)
_SYNONYMS: Final = {"NOT_IN": "NOT IN", "NOTLIKE": "NOT LIKE", "*": "LIKE", "!*": "NOT LIKE", "%": "ENDSWITH"}
_PART = re.compile(r"([a-z0-9_.]+)(" + "|".join(re.escape(operator) for operator in _OPERATORS) + r")(.*)", re.DOTALL)
_TEXT_QUERY = "123TEXTQUERY321="
_RELATED_LIST = re.compile(r"RLQUERY([a-z0-9_]+)\.([a-z0-9_]+),(>=|<=|=|>|<)(\d+)(?:,m2m)?$")
_JOIN = re.compile(r"JOIN([a-z0-9_]+)\.([a-z0-9_]+)=([a-z0-9_]+)\.([a-z0-9_]+)!(.*)", re.DOTALL)


@dataclass(slots=True)
class _Draft:
    groups: list[list[list[Condition]]] = field(default_factory=lambda: [[]])
    order: list[tuple[str, bool]] = field(default_factory=list)
    group_by: list[str] = field(default_factory=list)

    def add(self, condition: Condition, *, alternative: bool = False) -> None:
        group = self.groups[-1]
        if alternative and group:
            group[-1].append(condition)
        else:
            group.append([condition])

    def finished(self) -> EncodedQuery:
        groups = tuple(tuple(tuple(junction) for junction in group) for group in self.groups)
        return EncodedQuery(groups, tuple(self.order), tuple(self.group_by))


def parse(text: str) -> EncodedQuery:
    """Return the query. Never fails: what cannot be read becomes a condition without an operator."""
    draft = _Draft()
    parts = iter(text.split("^"))
    for part in parts:
        if part in {"", "EQ"}:
            continue
        if part.startswith("RLQUERY"):
            draft.add(_related_list(part, parts))
        elif part.startswith("ORDERBYDESC"):
            draft.order.append((part.removeprefix("ORDERBYDESC"), True))
        elif part.startswith("ORDERBY"):
            draft.order.append((part.removeprefix("ORDERBY"), False))
        elif part.startswith("GROUPBY"):
            draft.group_by.append(part.removeprefix("GROUPBY"))
        elif part.startswith("NQ"):
            draft.groups.append([])
            if rest := part.removeprefix("NQ"):
                draft.add(_condition(rest))
        elif part.startswith("OR"):
            draft.add(_condition(part.removeprefix("OR")), alternative=True)
        else:
            draft.add(_condition(part))
    return draft.finished()


def _condition(part: str) -> Condition:
    if part.startswith(_TEXT_QUERY):
        return Condition("", "TEXTQUERY", part.removeprefix(_TEXT_QUERY))
    if join := _JOIN.fullmatch(part):
        _, own, table, other, rest = join.groups()
        return Condition(f"{table}.{other}", "JOIN", own, EncodedQuery((((_condition(rest),),),)) if rest else EncodedQuery())
    match = _PART.fullmatch(part)
    if match is None:
        return Condition(part, "")
    name, operator, value = match.groups()
    return Condition(name, _SYNONYMS.get(operator, operator), value)


def _related_list(opening: str, parts: Iterator[str]) -> Condition:
    inside: list[str] = []
    for part in parts:
        if part == "ENDRLQUERY":
            break
        inside.append(part)
    match = _RELATED_LIST.fullmatch(opening)
    if match is None:
        return Condition(opening, "")
    table, column, comparison, number = match.groups()
    return Condition(f"{table}.{column}", "RLQUERY", comparison + number, parse("^".join(inside)))
