"""The expression language's syntax tree, and its canonical print.

Source of the grammar: "Reference for writing expressions for attribute mappings in Microsoft Entra ID". Extension of ours:
``AND``, ``OR`` and parentheses in conditions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

type Comparator = Literal["=", "<>", ">", ">=", "<", "<="]
type Connective = Literal["AND", "OR"]
type Node = Attribute | Constant | Number | Word | Omitted | Call | Comparison | Logical


@dataclass(frozen=True, slots=True)
class Span:
    """Where a node stands in the text: 0-based start, end exclusive."""

    start: int
    end: int

    @property
    def position(self) -> int:
        """The 1-based position that error messages use."""
        return self.start + 1


NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Attribute:
    """``[name]``: a source attribute, absent = NULL."""

    name: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Constant:
    """``"text"``, with its escapes already resolved."""

    text: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """``1``, ``-10``, ``42568.75`` or ``&HF7``; ``literal`` is the spelling."""

    literal: str
    span: Span = field(default=NOWHERE, compare=False)

    @property
    def value(self) -> int | float:
        if self.literal[:2] == "&H":
            return int(self.literal.removeprefix("&H"), 16)
        return float(self.literal) if "." in self.literal else int(self.literal)


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word: vbTextCompare, vbBinaryCompare, IgnoreAttributeFlow, IgnoreObjectFlow."""

    name: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Omitted:
    """An empty argument: nothing between two commas."""

    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """``Name(argument, ...)``."""

    name: str
    arguments: tuple[Node, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left operator right`` in a condition."""

    operator: Comparator
    left: Node
    right: Node
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Logical:
    """``condition AND condition`` or ``condition OR condition`` (our extension); two terms or more."""

    connective: Connective
    terms: tuple[Node, ...]
    span: Span = field(default=NOWHERE, compare=False)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Call():
            return node.arguments
        case Comparison():
            return (node.left, node.right)
        case Logical():
            return node.terms
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    yield node
    for child in children(node):
        yield from walk(child)


def quoted(text: str) -> str:
    r"""A string literal: only ``\`` and ``"`` are escaped."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unparse(node: Node) -> str:
    """The canonical spelling: parsing it again gives an equal tree."""
    match node:
        case Attribute(name):
            return f"[{name}]"
        case Constant(text):
            return quoted(text)
        case Number(literal):
            return literal
        case Word(name):
            return name
        case Omitted():
            return ""
        case Call(name, arguments):
            return f"{name}({', '.join(unparse(argument) for argument in arguments)})"
        case Comparison(operator, left, right):
            return f"{_operand(left)} {operator} {_operand(right)}"
        case Logical(connective, terms):
            return f" {connective} ".join(_term(term) for term in terms)


def _operand(node: Node) -> str:
    return f"({unparse(node)})" if isinstance(node, Comparison | Logical) else unparse(node)


def _term(node: Node) -> str:
    return f"({unparse(node)})" if isinstance(node, Logical) else unparse(node)
