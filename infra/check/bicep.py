"""Bicep files as trees: what they declare, what they use, and where.

Parsed by the grammar of tree-sitter-bicep. Values are turned into plain Python where they are literal; what is computed stays
text (``Expression``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tree_sitter_bicep
from tree_sitter import Language, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tree_sitter import Node

_PARSER = Parser(Language(tree_sitter_bicep.language()))
_DECLARATIONS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A value that is computed when the template is deployed."""

    text: str


@dataclass(frozen=True, slots=True)
class Declaration:
    """A symbol. ``target`` is the type and version of a resource, the path of a module, the type of a parameter or output."""

    kind: str
    name: str
    node: Node
    target: str = ""
    existing: bool = False
    decorators: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> int:
        return self.node.start_point.row + 1

    @property
    def body(self) -> Node:
        """What stands behind the equals sign, or the declaration itself where nothing does."""
        return self.node.named_children[-1]

    @property
    def has_default(self) -> bool:
        return any(child.type == "=" for child in self.node.children)


@dataclass(frozen=True, slots=True)
class BicepFile:
    """One file. ``errors`` are the places that do not parse."""

    path: Path
    root: Node
    declarations: tuple[Declaration, ...]
    errors: tuple[tuple[int, str], ...]

    def of(self, kind: str) -> dict[str, Declaration]:
        return {one.name: one for one in self.declarations if one.kind == kind}

    @property
    def symbols(self) -> dict[str, Declaration]:
        """Everything that can be referred to; outputs cannot."""
        return {one.name: one for one in self.declarations if one.kind != "output"}

    def objects(self, node: Node) -> Iterator[Node]:
        """The object literals that a value can be: behind loops, conditions, variables and in arrays."""
        if node.type == "object":
            yield node
        elif node.type == "array":
            for child in node.named_children:
                yield from self.objects(child)
        elif node.type in {"for_statement", "if_statement"}:
            yield from self.objects(node.named_children[-1])
        elif node.type == "ternary_expression":
            for child in node.named_children[1:]:
                yield from self.objects(child)
        elif node.type == "identifier":
            variable = self.of("var").get(text_of(node))
            if variable is not None:
                yield from self.objects(variable.body)

    def value(self, node: Node) -> Any:
        """A literal as Python; names of variables are followed, anything else is an ``Expression``."""
        match node.type:
            case "string":
                if any(child.type == "interpolation" for child in node.named_children):
                    return Expression(text_of(node))
                return text_of(node)[1:-1].replace("\\'", "'")
            case "number":
                return int(text_of(node))
            case "boolean":
                return text_of(node) == "true"
            case "array":
                return [self.value(child) for child in node.named_children if child.type != "comment"]
            case "object":
                return {name: self.value(child) for name, child, _ in properties(node)}
            case "identifier" if text_of(node) in self.of("var"):
                return self.value(self.of("var")[text_of(node)].body)
            case "unary_expression" if re.fullmatch(r"-\d+", text_of(node)):
                return int(text_of(node))
            case _:
                return Expression(text_of(node))


def parse(path: Path) -> BicepFile:
    """Read one file; what does not parse is in ``errors``."""
    root = _PARSER.parse(path.read_bytes()).root_node
    return BicepFile(path, root, tuple(_declarations(root)), tuple(_errors(root)))


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


def properties(node: Node) -> Iterator[tuple[str, Node, int]]:
    """Name, value and line of each property of an object; a computed name is given as it is written."""
    for child in node.named_children:
        if child.type == "object_property" and len(child.named_children) > 1:
            key = text_of(child.named_children[0]).strip("'")
            yield key, child.named_children[-1], child.start_point.row + 1


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def _declarations(root: Node) -> Iterator[Declaration]:
    decorators: dict[str, Any] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = dict(_decorator(child) for child in node.named_children)
            continue
        if node.type in _DECLARATIONS:
            names = node.named_children
            kind = _DECLARATIONS[node.type]
            target = text_of(names[1]).strip("'") if len(names) > 1 and kind != "var" else ""
            existing = any(child.type == "existing" or text_of(child) == "existing" for child in node.children)
            yield Declaration(kind, text_of(names[0]), node, target, existing, decorators)
        decorators = {}


def _decorator(node: Node) -> tuple[str, Any]:
    call = node.named_children[0]
    if call.type != "call_expression":
        return text_of(call), True
    arguments = call.named_children[1].named_children
    reader = BicepFile(path=None, root=node, declarations=(), errors=())  # type: ignore[arg-type] # reads literals only
    return text_of(call.named_children[0]), reader.value(arguments[0]) if arguments else True


def _errors(root: Node) -> Iterator[tuple[int, str]]:
    if not root.has_error:
        return
    for node in walk(root):
        if node.is_missing:
            yield node.start_point.row + 1, f"'{node.type}' is missing"
        elif node.is_error:
            yield node.start_point.row + 1, f"cannot be read: {text_of(node)[:60]!r}"
