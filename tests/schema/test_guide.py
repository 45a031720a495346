"""The mapping guide's examples do what the guide says, and its tables name what exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared.schema.expressions import IGNORE_FLOW, ExpressionError, compile_expression
from shared.schema.expressions.library import documented_functions
from shared.schema.mapping import compile_mappings
from shared.schema.model import Metadata, parse_schema
from shared.schema.operators import OPERATORS
from shared.schema.options import OPTION_KEYS, read_object_options
from shared.schema.scoping import evaluate_scope
from shared.schema.source import RENAMED

from .export import exported

GUIDE = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def example(block: str) -> tuple[str, dict[str, Any], str, str]:
    """What stands before "given", the source, and the verb and text of what comes out."""
    found = re.fullmatch(r"(.*)\ngiven (.*?)\n(gives|fails) (.*)\n", block, re.DOTALL)
    assert found is not None, block
    return found[1], json.loads(found[2]), found[3], found[4]


@pytest.mark.parametrize("block", blocks("expression"))
def test_an_expression_gives_what_the_guide_says(block: str) -> None:
    text, source, verb, outcome = example(block)
    expression = compile_expression(text)
    if verb == "fails":
        with pytest.raises(ExpressionError) as caught:
            expression.evaluate(source)
        assert caught.value.reason == outcome
    elif outcome == "nothing":
        assert expression.evaluate(source) is IGNORE_FLOW
    else:
        assert expression.evaluate(source) == json.loads(outcome)


@pytest.mark.parametrize("block", blocks("filter"))
def test_a_filter_decides_as_the_guide_says(block: str) -> None:
    text, source, _, outcome = example(block)
    document = exported()
    document["synchronizationRules"][0]["objectMappings"][0]["scope"] = json.loads(text)
    verdict = evaluate_scope(compile_mappings(parse_schema(document)).users.scope, source)
    said = "in scope" if verdict.in_scope else "left alone" if verdict.input_filtered else "out of scope"
    assert said == outcome


@pytest.mark.parametrize("block", blocks("action"))
def test_an_action_is_understood(block: str) -> None:
    options, faults = read_object_options((Metadata("OnDisable", block.strip()),))
    assert faults == ()
    assert not options.on_disable.nothing


def test_the_examples_were_found() -> None:
    assert (len(blocks("expression")), len(blocks("filter")), len(blocks("action"))) == (8, 3, 1)


def test_the_guide_names_every_function_operator_option_and_older_name() -> None:
    names = {function.name for function in documented_functions()} | {operator.name for operator in OPERATORS} | OPTION_KEYS
    missing = {name for name in names if re.search(rf"`{re.escape(name)}[`(]", GUIDE) is None}
    assert missing == set()
    assert {"objectId", "telephoneNumber", "mobile", "physicalDeliveryOfficeName"} <= set(RENAMED)
