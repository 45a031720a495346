"""Graph's ``synchronizationSchema: parseExpression``: an expression, tried on a test object.

Source: "synchronizationSchema: parseExpression" and resource parseExpressionResponse, Microsoft Graph docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.schema.values import Flow, Value, items_of, text_of, value_of

from .errors import ExpressionError
from .expression import compile_expression

if TYPE_CHECKING:
    from .context import EvaluationContext


def parse_expression_response(
    expression: str, test_input_object: Mapping[str, Any] | None = None, context: EvaluationContext | None = None
) -> dict[str, Any]:
    """The answer: parsingSucceeded, parsedExpression, evaluationSucceeded, evaluationResult (strings), error.

    ``test_input_object`` is an expressionInputObject: ``{"properties": [{"key": ..., "value": ...}]}``. Without one the
    expression is only parsed. A result that says "nothing flows" is an empty evaluationResult.
    """
    answer: dict[str, Any] = {
        "parsingSucceeded": False,
        "parsedExpression": None,
        "evaluationSucceeded": False,
        "evaluationResult": [],
        "error": None,
    }
    try:
        compiled = compile_expression(expression)
        answer |= {"parsingSucceeded": True, "parsedExpression": compiled.parsed}
        if test_input_object is not None:
            outcome = compiled.evaluate(_properties(test_input_object), context)
            answer |= {"evaluationSucceeded": True, "evaluationResult": _result(outcome)}
    except ExpressionError as error:
        answer["error"] = {
            "code": "ParseExpressionFailed" if not answer["parsingSucceeded"] else "EvaluateExpressionFailed",
            "message": error.reason,
            "tenantActionable": True,
        }
    return answer


def _result(outcome: Value | Flow) -> list[str]:
    return [] if isinstance(outcome, Flow) else [text_of(item) for item in items_of(outcome)]


def _properties(test_input_object: Mapping[str, Any]) -> dict[str, Value]:
    properties = test_input_object.get("properties") or []
    pairs = properties.items() if isinstance(properties, Mapping) else ((one.get("key"), one.get("value")) for one in properties)
    try:
        return {str(key): value_of(value) for key, value in pairs}
    except TypeError as error:
        raise ExpressionError(f"the test object has a property that is no attribute value: {error}") from error
