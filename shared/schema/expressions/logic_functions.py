"""Functions that choose, test and compare. Source: the function reference named in :mod:`.syntax`."""

from __future__ import annotations

from itertools import batched

from shared.schema.values import IGNORE_FLOW, Flow, is_empty, text_of

from .functions import Arguments, Function, Outcome, Parameter


def _iif(arguments: Arguments) -> Outcome:
    return arguments.result("valueIfTrue" if arguments.boolean("condition") else "valueIfFalse")


def _switch(arguments: Arguments) -> Outcome:
    """Case-sensitive. The key "" matches NULL and empty. No key matches: the default, NULL where it is omitted."""
    source = arguments.text("source") or ""
    for key, value in batched(arguments.repeated("switchValue"), 2, strict=True):
        outcome = key.evaluate(arguments.scope)
        if isinstance(outcome, Flow):
            raise arguments.fail(f"{outcome.value} is no key", "switchValue")
        candidate = arguments.only(outcome, "switchValue")
        if source == ("" if candidate is None else text_of(candidate)):
            return value.evaluate(arguments.scope)
    return arguments.result("defaultValue")


def _coalesce(arguments: Arguments) -> Outcome:
    for argument in arguments.repeated("source"):
        outcome = argument.evaluate(arguments.scope)
        if isinstance(outcome, Flow) or not is_empty(outcome):
            return outcome
    return None


def _ignore_flow(arguments: Arguments) -> Outcome:
    outcome = arguments.result("expression")
    return IGNORE_FLOW if not isinstance(outcome, Flow) and is_empty(outcome) else outcome


def _is_null(arguments: Arguments) -> Outcome:
    return arguments.value("expression") is None


def _is_null_or_empty(arguments: Arguments) -> Outcome:
    return is_empty(arguments.value("expression"))


def _is_present(arguments: Arguments) -> Outcome:
    return not is_empty(arguments.value("expression"))


def _is_string(arguments: Arguments) -> Outcome:
    return isinstance(arguments.value("expression"), str)


def _not(arguments: Arguments) -> Outcome:
    """Only True is turned into False; everything else, NULL included, gives True."""
    value = arguments.single("source")
    return not (value is not None and text_of(value).strip().lower() == "true")


def _c_bool(arguments: Arguments) -> Outcome:
    return arguments.boolean("expression")


def _bit_and(arguments: Arguments) -> Outcome:
    first, second = arguments.integer("value1"), arguments.integer("value2")
    return None if first is None or second is None else first & second


FUNCTIONS = (
    Function(
        "IIF",
        (
            Parameter("condition", "Boolean", condition=True),
            Parameter("valueIfTrue", required=False, result=True),
            Parameter("valueIfFalse", required=False, result=True),
        ),
        _iif,
    ),
    Function(
        "Switch",
        (
            Parameter("source"),
            Parameter("defaultValue", required=False, result=True),
            Parameter("switchValue", repeated=True, result=True),
        ),
        _switch,
    ),
    Function("Coalesce", (Parameter("source", repeated=True, result=True),), _coalesce),
    Function("IgnoreFlowIfNullOrEmpty", (Parameter("expression", result=True),), _ignore_flow, place="result"),
    Function("IsNull", (Parameter("expression"),), _is_null),
    Function("IsNothing", (Parameter("expression"),), _is_null, documented=False),
    Function("IsNullOrEmpty", (Parameter("expression"),), _is_null_or_empty),
    Function("IsPresent", (Parameter("expression"),), _is_present),
    Function("IsString", (Parameter("expression"),), _is_string),
    Function("Not", (Parameter("source", "Boolean", condition=True),), _not),
    Function("CBool", (Parameter("expression", "Boolean", condition=True),), _c_bool),
    Function("BitAnd", (Parameter("value1", "Integer"), Parameter("value2", "Integer")), _bit_and),
)
