"""OData query options: what was asked for, and how an object looks under it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.tenant.errors import bad_request
from sandbox.tenant.objects import DEFAULT_PROPERTIES, PROPERTIES, DirectoryObject, Kind, State, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.tenant.view import View

DEFAULT_PAGE = 100
LARGEST_PAGE = 999
_MOST_LEVELS = 1000
_EXPAND = re.compile(r"(?P<name>\w+)(?:\((?P<options>.*)\))?")
_CLAUSE = re.compile(
    r"(?P<name>[\w/]+) (?P<operator>eq|ne) (?P<value>'(?:[^']|'')*'|true|false|null)"
    r"|startswith\((?P<prefixed>[\w/]+), ?(?P<prefix>'(?:[^']|'')*')\)",
    re.IGNORECASE,
)
_CONNECTIVE = re.compile(r"\s+(and|or)\s+(?=(?:[^']*'[^']*')*[^']*$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shape:
    """How objects are to look: the selected properties (``None``: the default ones) and the expanded manager.

    ``levels`` is how far up the managers go; 0 is no manager at all.
    """

    select: tuple[str, ...] | None = None
    levels: int = 0
    manager_select: tuple[str, ...] | None = None


def shape_of(options: Mapping[str, str], headers: Mapping[str, str]) -> Shape:
    """``$select`` and ``$expand``; raises ``GraphError`` 400 for an expansion that is not supported."""
    select = selected(options.get("select"))
    expand = options.get("expand")
    if not expand:
        return Shape(select)
    match = _EXPAND.fullmatch(expand.strip())
    if match is None or match["name"] != "manager":
        raise bad_request(f"Could not find a property named '{expand.partition('(')[0]}' to expand.")
    nested = {}
    for option in filter(None, (match["options"] or "").split(";")):
        name, _, value = option.partition("=")
        nested[name.strip().lstrip("$").lower()] = value.strip()
    levels = 1
    if "levels" in nested:
        if headers.get("consistencylevel") != "eventual":
            raise bad_request("$expand with $levels requires the header ConsistencyLevel: eventual.")
        wanted = str(_MOST_LEVELS) if nested["levels"] == "max" else nested["levels"]
        if not wanted.isdigit() or not 1 <= int(wanted) <= _MOST_LEVELS:
            raise bad_request(f"$levels takes a number from 1 to {_MOST_LEVELS}, or max.")
        levels = int(wanted)
    return Shape(select, levels, selected(nested.get("select")))


def selected(text: str | None) -> tuple[str, ...] | None:
    """The names in a ``$select``, without repetition; ``None`` if there is none."""
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    return names or None


def check_select(kind: Kind, names: tuple[str, ...] | None, *, also: tuple[str, ...] = ()) -> None:
    """Raises ``GraphError`` 400 for a property that the type does not have."""
    for name in names or ():
        if name not in PROPERTIES[kind] and name not in {"id", "deletedDateTime", *also}:
            raise bad_request(f"Could not find a property named '{name}' on type 'microsoft.graph.{kind.value}'.")


def render(view: View, subject: DirectoryObject, shape: Shape, *, typed: bool = False) -> dict[str, Any]:
    """An object as JSON: a selected property without value is null. ``typed`` adds ``@odata.type``, as in mixed lists."""
    names = shape.select if shape.select is not None else DEFAULT_PROPERTIES[subject.kind]
    values = view.properties(subject)
    rendered: dict[str, Any] = {"@odata.type": subject.kind.odata_type} if typed else {}
    if shape.select is None or "id" in names:
        rendered["id"] = subject.id
    for name in names:
        if name in PROPERTIES[subject.kind]:
            rendered[name] = values.get(name, [] if name == "businessPhones" else None)
    if subject.state is State.DELETED and view.state(subject) is State.DELETED:
        if shape.select is None or "deletedDateTime" in names:
            rendered["deletedDateTime"] = timestamp(subject.deleted_at or 0)
        if rendered.get("userPrincipalName"):  # the directory frees the name: "deletedItems" pages show it prefixed
            rendered["userPrincipalName"] = subject.id.replace("-", "") + rendered["userPrincipalName"]
    elif "deletedDateTime" in names:
        rendered["deletedDateTime"] = None
    if shape.levels and subject.kind is Kind.USER:
        manager = view.manager(subject)
        if manager is not None:
            above = Shape(shape.manager_select, shape.levels - 1, shape.manager_select)
            rendered["manager"] = render(view, manager, above, typed=True)
    return rendered


def predicate_of(text: str, kind: Kind) -> Callable[[View, DirectoryObject], bool]:
    """A ``$filter`` of ``eq``, ``ne`` and ``startswith`` over properties, joined by ``and`` and ``or``.

    Raises ``GraphError`` 400 for anything else.
    """
    parts = _CONNECTIVE.split(text.strip())
    alternatives: list[list[tuple[str, str, Any]]] = [[]]
    for index, part in enumerate(parts):
        if index % 2 == 0:
            alternatives[-1].append(_clause(part, kind))
        elif part.lower() == "or":
            alternatives.append([])

    def matches(view: View, subject: DirectoryObject) -> bool:
        values = view.properties(subject)
        return any(all(_holds(clause, subject, values) for clause in clauses) for clauses in alternatives)

    return matches


def filtered_ids(text: str) -> tuple[str, ...] | None:
    """The ids of a filter that is nothing but ``id eq '..'`` joined by ``or``; ``None`` for any other filter."""
    ids = []
    for index, part in enumerate(_CONNECTIVE.split(text.strip())):
        match = _CLAUSE.fullmatch(part.strip().strip("()"))
        if index % 2:
            if part.lower() != "or":
                return None
        elif match is None or match["name"] != "id" or match["operator"].lower() != "eq":
            return None
        else:
            ids.append(_literal(match["value"]).lower())
    return tuple(dict.fromkeys(ids))


def _clause(part: str, kind: Kind) -> tuple[str, str, Any]:
    match = _CLAUSE.fullmatch(part.strip())
    if match is None:
        raise bad_request(f"Invalid filter clause: {part!r}.", code="Request_UnsupportedQuery")
    name = match["name"] or match["prefixed"]
    if name != "id" and name not in PROPERTIES[kind]:
        raise bad_request(f"Could not find a property named '{name}' on type 'microsoft.graph.{kind.value}'.")
    if match["prefixed"]:
        return name, "startswith", _literal(match["prefix"])
    return name, match["operator"].lower(), _literal(match["value"])


def _literal(text: str) -> Any:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return {"true": True, "false": False, "null": None}[text.lower()]


def _holds(clause: tuple[str, str, Any], subject: DirectoryObject, values: dict[str, Any]) -> bool:
    name, operator, wanted = clause
    value = subject.id if name == "id" else values.get(name)
    if operator == "startswith":
        return isinstance(value, str) and value.lower().startswith(wanted.lower())
    same = value.lower() == wanted.lower() if isinstance(value, str) and isinstance(wanted, str) else value == wanted
    return same is (operator == "eq")
