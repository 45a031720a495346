"""Routes of HTTP triggers: ASP.NET Core route templates with parameters, constraints, defaults and catch-alls.

Source: ASP.NET Core docs, "Routing in ASP.NET Core", route templates and route constraints, which the Functions host uses.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

    Predicate = Callable[[str], bool]

_PARAMETER = re.compile(
    r"\{(?P<catch_all>\*{0,2})(?P<name>[A-Za-z_]\w*)(?P<constraints>(?::[^{}=?]+)*)(?:=(?P<default>[^{}?]*))?(?P<optional>\?)?\}"
)
_CONSTRAINT = re.compile(r"(?P<name>\w+)(?:\((?P<argument>.*)\))?", re.DOTALL)
_LITERAL, _CONSTRAINED, _FREE, _CATCH_ALL = range(4)


class RouteError(ValueError):
    """A route template that cannot be understood."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    default: str | None
    accepts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A compiled template. Routes sort by ``precedence``: literals before constrained parameters before free ones."""

    template: str
    pattern: re.Pattern[str]
    parameters: tuple[_Parameter, ...]
    precedence: tuple[int, ...]

    @classmethod
    def compile(cls, template: str) -> Route:
        """Compile a template such as ``links/{objectId:guid}`` or ``files/{*path}``; RouteError if it is malformed."""
        parameters: list[_Parameter] = []
        expression = ""
        precedence: list[int] = []
        for segment in filter(None, template.strip("/").split("/")):
            text, rank = _segment(segment, parameters)
            expression += text
            precedence.append(rank)
        return cls(template, re.compile(expression + "/?", re.IGNORECASE), tuple(parameters), tuple(precedence))

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a raw (still percent-encoded) path that begins with a slash; None if it is not this route's."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for parameter in self.parameters:
            raw = found[parameter.name]
            value = unquote(raw) if raw else parameter.default
            if value is None:
                continue
            if not all(accepts(value) for accepts in parameter.accepts):
                return None
            values[parameter.name] = value
        return values


def _segment(segment: str, parameters: list[_Parameter]) -> tuple[str, int]:
    """The regular expression of one path segment with its slash, and its rank."""
    found = list(_PARAMETER.finditer(segment))
    rest = _PARAMETER.sub("", segment)
    if "{" in rest or "}" in rest:
        raise RouteError(f"the route segment {segment!r} is malformed")
    if not found:
        return "/" + re.escape(segment), _LITERAL
    expression, position, rank = "", 0, _LITERAL
    for match in found:
        expression += re.escape(segment[position : match.start()])
        position = match.end()
        constraints = tuple(_constraint(text) for text in _split_constraints(match["constraints"]))
        parameters.append(_Parameter(match["name"], match["default"], constraints))
        expression += f"(?P<{match['name']}>{'.*' if match['catch_all'] else '[^/]+?'})"
        rank = max(rank, _CATCH_ALL if match["catch_all"] else _CONSTRAINED if constraints else _FREE)
    expression += re.escape(segment[position:])
    last = found[-1]
    if last["catch_all"] or last["optional"] or last["default"] is not None:
        return f"(?:/{expression})?", rank
    return "/" + expression, rank


def _split_constraints(text: str) -> list[str]:
    """``:int:range(1,5)`` -> ``int``, ``range(1,5)``; a colon within parentheses belongs to the argument."""
    parts: list[str] = []
    depth = 0
    for character in text:
        if character == ":" and depth == 0:
            parts.append("")
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
            parts[-1] += character
    return parts


def _constraint(text: str) -> Predicate:
    match = _CONSTRAINT.fullmatch(text)
    factory = _CONSTRAINTS.get(match["name"].lower()) if match else None
    if match is None or factory is None:
        raise RouteError(f"the route constraint {text!r} is unknown")
    try:
        return factory(match["argument"] or "")
    except ValueError as error:
        raise RouteError(f"the argument of the route constraint {text!r} cannot be used: {error}") from error


def _converts(convert: Callable[[str], object]) -> Callable[[str], Predicate]:
    def factory(_argument: str) -> Predicate:
        def accepts(value: str) -> bool:
            try:
                convert(value)
            except (ValueError, ArithmeticError):
                return False
            return True

        return accepts

    return factory


def _matches(expression: str) -> Callable[[str], Predicate]:
    pattern = re.compile(expression, re.IGNORECASE)
    return lambda _argument: lambda value: pattern.fullmatch(value) is not None


def _regex(argument: str) -> Predicate:
    pattern = re.compile(argument, re.IGNORECASE)
    return lambda value: pattern.search(value) is not None


def _length(argument: str) -> Predicate:
    least, _, most = argument.partition(",")
    return _sized(int(least), int(most or least))


def _sized(least: int, most: int | None) -> Predicate:
    return lambda value: len(value) >= least and (most is None or len(value) <= most)


def _integer(value: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", value):
        raise ValueError(value)
    return int(value)


def _bounded(least: int | None, most: int | None) -> Predicate:
    def accepts(value: str) -> bool:
        try:
            number = _integer(value)
        except ValueError:
            return False
        return (least is None or number >= least) and (most is None or number <= most)

    return accepts


def _range(argument: str) -> Predicate:
    least, _, most = argument.partition(",")
    return _bounded(int(least), int(most))


_CONSTRAINTS: Final[dict[str, Callable[[str], Predicate]]] = {
    "alpha": _matches(r"[a-z]*"),
    "bool": _matches(r"true|false"),
    "int": lambda _: _bounded(-(2**31), 2**31 - 1),
    "long": lambda _: _bounded(-(2**63), 2**63 - 1),
    "decimal": _matches(r"[+-]?(\d+(,\d+)*)?\.?\d*"),
    "double": _converts(float),
    "float": _converts(float),
    "guid": _converts(uuid.UUID),
    "datetime": _converts(datetime.fromisoformat),
    "length": _length,
    "minlength": lambda argument: _sized(int(argument), None),
    "maxlength": lambda argument: _sized(0, int(argument)),
    "min": lambda argument: _bounded(int(argument), None),
    "max": lambda argument: _bounded(None, int(argument)),
    "range": _range,
    "regex": _regex,
    "required": lambda _: lambda value: value != "",
}
