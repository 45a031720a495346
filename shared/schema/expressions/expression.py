"""An expression, parsed once and evaluated for every object."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .compiler import compile_node, unique_candidates
from .context import EvaluationContext
from .functions import Evaluation, Scope
from .graph_form import to_graph
from .library import LIBRARY
from .parser import parse
from .syntax import Attribute, Call, Node, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.schema.values import Flow, Value


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression.

    ``attributes``: the source attributes that it reads. ``redacts``: its value must not appear in logs. ``volatile``: Now, Guid,
    RandomString or SelectUniqueValue take part, so two evaluations of one object may differ. ``unique``: it is a
    SelectUniqueValue, whose candidates the caller must look up in the target first.
    """

    text: str
    tree: Node
    attributes: frozenset[str]
    functions: frozenset[str]
    _evaluation: Evaluation = field(repr=False)

    @property
    def redacts(self) -> bool:
        return "Redact" in self.functions

    @property
    def volatile(self) -> bool:
        return any(LIBRARY[name].volatile for name in self.functions)

    @property
    def unique(self) -> bool:
        return isinstance(self.tree, Call) and self.tree.name == "SelectUniqueValue"

    @property
    def parsed(self) -> dict[str, Any]:
        """The expression as Graph's attributeMappingSource: type, name, expression, parameters[{key, value}]."""
        return to_graph(self.tree, self.text)

    def evaluate(self, source: Mapping[str, Value], context: EvaluationContext | None = None) -> Value | Flow:
        """Evaluate on a full source object (never on a delta's fragment); an absent attribute is NULL.

        Raises :class:`ExpressionError` naming function, argument and position. A :class:`Flow` says that nothing flows.
        """
        return self._evaluation(Scope(source, context or EvaluationContext()))

    def candidates(self, source: Mapping[str, Value], context: EvaluationContext | None = None) -> tuple[str, ...]:
        """What SelectUniqueValue would try, in order; empty for any other expression."""
        return unique_candidates(self.tree, Scope(source, context or EvaluationContext()))


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Parse and compile. Raises :class:`ExpressionError`."""
    tree = parse(text)
    evaluation = compile_node(tree)
    nodes = tuple(walk(tree))
    return Expression(
        text=text,
        tree=tree,
        attributes=frozenset(node.name for node in nodes if isinstance(node, Attribute)),
        functions=frozenset(node.name for node in nodes if isinstance(node, Call)),
        _evaluation=evaluation,
    )
