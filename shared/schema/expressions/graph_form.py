"""Expressions in the shapes of Microsoft Graph: attributeMappingSource, and the function list.

Sources: resources attributeMappingSource, attributeMappingFunctionSchema, attributeMappingParameterSchema (Graph docs).
Comparisons and AND/OR have no documented form; ours is a Function named after the operator.
"""

from __future__ import annotations

from typing import Any

from .compiler import bind
from .library import LIBRARY, documented_functions
from .syntax import Attribute, Call, Comparison, Constant, Logical, Node, Number, Omitted, Word, quoted, unparse


def to_graph(node: Node, text: str) -> dict[str, Any]:
    """The attributeMappingSource of a parsed expression; ``text`` is the expression that it was parsed from."""
    match node:
        case Attribute(name):
            return {"expression": f"[{name}]", "name": name, "parameters": [], "type": "Attribute"}
        case Constant(value):
            return {"expression": quoted(value), "name": value, "parameters": [], "type": "Constant"}
        case Number() | Word() | Omitted():
            return {"expression": quoted(unparse(node)), "name": unparse(node), "parameters": [], "type": "Constant"}
        case Call():
            pairs = [(parameter.name, argument) for parameter, argument in bind(node, LIBRARY[node.name])]
            return _function(node.name, pairs, _slice(node, text), text)
        case Comparison(operator, left, right):
            return _function(operator, [("left", left), ("right", right)], _slice(node, text), text)
        case Logical(connective, terms):
            return _function(connective, [("condition", term) for term in terms], _slice(node, text), text)


def _slice(node: Node, text: str) -> str:
    return text[node.span.start : node.span.end]


def _function(name: str, pairs: list[tuple[str, Node]], expression: str, text: str) -> dict[str, Any]:
    parameters = [{"key": key, "value": to_graph(node, text)} for key, node in pairs if not isinstance(node, Omitted)]
    return {"expression": expression, "name": name, "parameters": parameters, "type": "Function"}


def function_schemas() -> list[dict[str, Any]]:
    """What ``GET schema/functions`` lists: attributeMappingFunctionSchema of every documented function."""
    return [
        {
            "name": function.name,
            "parameters": [
                {
                    "name": parameter.name,
                    "type": parameter.type,
                    "required": parameter.required,
                    "allowMultipleOccurrences": parameter.repeated,
                }
                for parameter in function.parameters
            ],
        }
        for function in documented_functions()
    ]
