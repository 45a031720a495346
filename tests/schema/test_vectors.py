"""The documented cases of the expression language."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.schema.expressions import IGNORE_FLOW, EvaluationContext, compile_expression, parse_expression_response
from shared.schema.expressions.library import documented_functions

VECTORS = Path(__file__).parent / "vectors"


def cases(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    return loaded


def context_of(case: dict[str, Any]) -> EvaluationContext:
    taken = set(case.get("target_taken", ()))
    if "now" in case:
        return EvaluationContext(now=datetime.fromisoformat(case["now"]), target_taken=taken.__contains__)
    return EvaluationContext(target_taken=taken.__contains__)


def plain(outcome: object) -> object:
    if outcome is IGNORE_FLOW:
        return {"$ignoreFlow": True}
    return list(outcome) if isinstance(outcome, tuple) else outcome


@pytest.mark.parametrize("case", [*cases("expressions"), *cases("diacritics")], ids=lambda case: case["expression"][:60])
def test_a_documented_case_gives_the_documented_result(case: dict[str, Any]) -> None:
    expression = compile_expression(case["expression"])
    outcome = plain(expression.evaluate(case["source"], context_of(case)))
    assert outcome == case["expected"]
    assert type(outcome) is type(case["expected"])
    assert expression.redacts is ("log_value" in case)


def test_no_case_was_lost() -> None:
    assert (len(cases("expressions")), len(cases("diacritics"))) == (125, 261)


def test_all_46_functions_are_listed() -> None:
    assert len(documented_functions()) == 46


def test_parse_expression_answers_graphs_own_sample() -> None:
    properties = [{"key": "preferredLanguage", "value": "EN-US"}, {"key": "appRoleAssignments", "value": ["Default Assignment"]}]
    text = 'Replace([preferredLanguage], "-",  , "_",   )'
    answer = parse_expression_response(text, {"definition": None, "properties": properties})
    assert answer["error"] is None
    assert answer["parsingSucceeded"] is answer["evaluationSucceeded"] is True
    assert answer["evaluationResult"] == ["EN_US"]
    parsed = answer["parsedExpression"]
    assert (parsed["type"], parsed["name"], parsed["expression"]) == ("Function", "Replace", text)
    assert [(one["key"], one["value"]["name"], one["value"]["expression"]) for one in parsed["parameters"]] == [
        ("source", "preferredLanguage", "[preferredLanguage]"),
        ("Find", "-", '"-"'),
        ("Replacement", "_", '"_"'),
    ]


def test_parse_expression_tells_a_parse_fault_from_an_evaluation_fault() -> None:
    broken = parse_expression_response("Mid([x], 1", {"properties": []})
    assert (broken["parsingSucceeded"], broken["evaluationSucceeded"], broken["parsedExpression"]) == (False, False, None)
    assert "position 11" in broken["error"]["message"]
    failing = parse_expression_response("CDate([x])", {"properties": [{"key": "x", "value": "secret"}]})
    assert (failing["parsingSucceeded"], failing["evaluationSucceeded"]) == (True, False)
    assert "CDate" in failing["error"]["message"]
    assert "secret" not in failing["error"]["message"]


def test_parse_expression_without_a_test_object_only_parses() -> None:
    answer = parse_expression_response("[mail]")
    assert (answer["parsingSucceeded"], answer["evaluationSucceeded"], answer["error"]) == (True, False, None)


def test_parse_expression_shows_lists_and_ignored_flows() -> None:
    test_object = {"properties": [{"key": "x", "value": "a, b"}]}
    assert parse_expression_response('Split([x], ",")', test_object)["evaluationResult"] == ["a", "b"]
    assert parse_expression_response("IgnoreFlowIfNullOrEmpty([none])", test_object)["evaluationResult"] == []
