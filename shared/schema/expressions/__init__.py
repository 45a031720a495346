"""The expression language of Entra's attribute mappings: parsed once, compiled to closures, evaluated for every object."""

from __future__ import annotations

from shared.schema.values import IGNORE_FLOW, Flow

from .context import EvaluationContext
from .errors import ExpressionError
from .expression import Expression, compile_expression
from .graph_form import function_schemas
from .response import parse_expression_response

__all__ = [
    "IGNORE_FLOW",
    "EvaluationContext",
    "Expression",
    "ExpressionError",
    "Flow",
    "compile_expression",
    "function_schemas",
    "parse_expression_response",
]
