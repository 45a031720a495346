"""Scoping filters: the 14 operators, our own, and how verdicts are put together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shared.schema.model import Filter, FilterClause, FilterGroup
from shared.schema.operators import OPERATORS, filter_operator_schemas
from shared.schema.scoping import ScopeVerdict, describe, evaluate_scope, filter_attributes
from shared.schema.source import user_source

if TYPE_CHECKING:
    from shared.schema.values import Value

NOW = datetime(2025, 7, 30, tzinfo=UTC)
PERSON: dict[str, Value] = {
    "department": "Sales",
    "empty": "",
    "level": "42",
    "flags": 6,
    "enabled": True,
    "disabled": False,
    "text": "not a number",
    "phones": ("+1", "+49"),
    "memberOf": ("group-1", "group-2"),
    "manager": "boss-id",
    "userType": "Guest",
    "employeeHireDate": "2025-08-10T00:00:00Z",
}


def judge(attribute: str, operator: str, *values: str) -> bool:
    scope = Filter((FilterGroup("test", (FilterClause(attribute, operator, values),)),))
    verdict = evaluate_scope(scope, PERSON, now=NOW)
    assert verdict.clauses[0].passed is verdict.in_scope
    assert verdict.clauses[0].why
    return verdict.in_scope


@pytest.mark.parametrize(
    ("attribute", "operator", "value", "passed"),
    [
        ("department", "EQUALS", "Sales", True),
        ("department", "EQUALS", "sales", False),
        ("department", "NOT EQUALS", "IT", True),
        ("department", "NOT EQUALS", "Sales", False),
        ("enabled", "EQUALS", "True", True),
        ("enabled", "IS TRUE", None, True),
        ("enabled", "IS FALSE", None, False),
        ("disabled", "IS FALSE", None, True),
        ("disabled", "IS TRUE", None, False),
        ("text", "IS TRUE", None, False),
        ("text", "IS FALSE", None, False),
        ("none", "IS NULL", None, True),
        ("empty", "IS NULL", None, True),
        ("department", "IS NULL", None, False),
        ("department", "IS NOT NULL", None, True),
        ("none", "IS NOT NULL", None, False),
        ("department", "REGEX MATCH", "al", True),
        ("department", "REGEX MATCH", "^al", False),
        ("department", "REGEX MATCH", "SALES", False),
        ("department", "NOT REGEX MATCH", "^IT", True),
        ("department", "NOT REGEX MATCH", "Sal", False),
        ("level", "Greater_Than", "41", True),
        ("level", "Greater_Than", "42", False),
        ("level", "GREATER THAN", "5", True),
        ("level", "Greater_Than_OR_EQUALS", "42", True),
        ("level", "Greater_Than_OR_EQUALS", "43", False),
        ("text", "Greater_Than", "1", False),
        ("department", "Includes", "ale", True),
        ("department", "Includes", "ALE", False),
        ("department", "ENDS_WITH", "les", True),
        ("department", "ENDS_WITH", "Sal", False),
        ("department", "&", "Pre-Sales team", True),
        ("department", "&", "IT", False),
        ("department", "!&", "IT", True),
        ("department", "!&", "Pre-Sales team", False),
        ("flags", "&", "2", True),
        ("flags", "&", "1", False),
        ("flags", "!&", "1", True),
        # ours
        ("phones", "EQUALS", "+49", True),
        ("phones", "ALL EQUALS", "+49", False),
        ("phones", "ALL REGEX MATCH", r"^\+", True),
        ("phones", "NOT EQUALS", "+49", False),
        ("phones", "ANY NOT EQUALS", "+49", True),
        ("phones", "NOT EQUALS", "+7", True),
        ("memberOf", "IS MEMBER OF", "group-2", True),
        ("memberOf", "IS MEMBER OF", "group-3", False),
        ("memberOf", "IS NOT MEMBER OF", "group-3", True),
        ("memberOf", "IS NOT MEMBER OF", "group-1", False),
        ("manager", "EQUALS", "boss-id", True),
        ("userType", "NOT EQUALS", "Guest", False),
        ("employeeHireDate", "AFTER", "2025-08-09", True),
        ("employeeHireDate", "BEFORE", "NOW+14d", True),
        ("employeeHireDate", "BEFORE", "NOW+5d", False),
        ("employeeHireDate", "ON OR AFTER", "2025-08-10", True),
        ("employeeHireDate", "ON OR BEFORE", "8/10/2025", True),
        ("text", "AFTER", "2025-01-01", False),
    ],
)
def test_operator(attribute: str, operator: str, value: str | None, passed: bool) -> None:
    assert judge(attribute, operator, *([] if value is None else [value])) is passed


@pytest.mark.parametrize("operator", [one for one in OPERATORS if one.documented], ids=lambda one: one.name)
@pytest.mark.parametrize("attribute", ["none", "empty"])
def test_every_documented_operator_is_false_without_a_value_but_is_null(operator: object, attribute: str) -> None:
    assert isinstance(operator, type(OPERATORS[0]))
    assert judge(attribute, operator.name, "1") is (operator.name == "IS NULL")


def test_who_is_in_no_group_is_not_a_member() -> None:
    assert judge("none", "IS NOT MEMBER OF", "group-1") is True


def test_several_operands_mean_any_of_them_and_none_of_them() -> None:
    assert judge("department", "EQUALS", "IT", "Sales")
    assert not judge("department", "NOT EQUALS", "IT", "Sales")


def clause(attribute: str, value: str) -> FilterClause:
    return FilterClause(attribute, "EQUALS", (value,))


SALES, HELPDESK, GUESTS = clause("department", "Sales"), clause("department", "Helpdesk"), clause("userType", "Guest")


def verdict_of(*groups: FilterGroup, inputs: tuple[FilterGroup, ...] = ()) -> ScopeVerdict:
    return evaluate_scope(Filter(groups, inputs), PERSON, now=NOW)


def test_clauses_are_anded_and_groups_are_ored() -> None:
    assert not verdict_of(FilterGroup("both", (SALES, clause("userType", "Member")))).in_scope
    assert verdict_of(FilterGroup("no", (HELPDESK,)), FilterGroup("yes", (SALES, GUESTS))).in_scope


def test_groups_nest_with_and_and_or() -> None:
    either = FilterGroup("", (HELPDESK, SALES), "OR")
    assert verdict_of(FilterGroup("nested", (GUESTS, either))).in_scope
    assert not verdict_of(FilterGroup("nested", (GUESTS, FilterGroup("", (HELPDESK, clause("department", "IT")), "OR")))).in_scope


def test_no_filter_lets_everybody_in() -> None:
    assert evaluate_scope(None, {}) == ScopeVerdict(in_scope=True)
    assert verdict_of().in_scope


def test_who_fails_the_input_filter_is_left_alone() -> None:
    verdict = verdict_of(FilterGroup("yes", (SALES,)), inputs=(FilterGroup("early", (HELPDESK,)),))
    assert (verdict.in_scope, verdict.input_filtered) == (False, True)
    passed = verdict_of(FilterGroup("no", (HELPDESK,)), inputs=(FilterGroup("early", (SALES,)),))
    assert (passed.in_scope, passed.input_filtered) == (False, False)


def test_a_verdict_explains_every_clause_without_the_persons_value() -> None:
    verdict = verdict_of(FilterGroup("Helpdesk only", (HELPDESK, GUESTS)))
    assert [one.passed for one in verdict.clauses] == [False, True]
    assert describe(verdict.clauses[0]) == "Helpdesk only department EQUALS Helpdesk"
    assert "Sales" not in repr(verdict)


def test_a_pattern_that_runs_out_of_time_fails_its_clause() -> None:
    scope = Filter((FilterGroup("slow", (FilterClause("text", "REGEX MATCH", ("([a-z]+)*$",)),)),))
    verdict = evaluate_scope(scope, {"text": "a" * 5000 + "!"}, now=NOW)
    assert not verdict.in_scope
    assert "did not finish in time" in verdict.clauses[0].why


def test_the_attributes_that_a_filter_reads_are_known() -> None:
    nested = FilterGroup("", (HELPDESK, clause("city", "x")), "OR")
    assert filter_attributes(Filter((FilterGroup("", (nested,)),), (FilterGroup("", (GUESTS,)),))) == {
        "department",
        "city",
        "userType",
    }


def test_filters_read_a_graph_user() -> None:
    person = user_source({"id": "1", "businessPhones": ["+1 555"], "officeLocation": "X"}, is_soft_deleted=False)
    assert evaluate_scope(Filter((FilterGroup("", (clause("telephoneNumber", "+1 555"),)),)), person).in_scope


def test_operator_schemas_have_graphs_shape() -> None:
    schemas = {schema["name"]: schema for schema in filter_operator_schemas()}
    assert schemas["IS NULL"]["arity"] == "Unary"
    assert schemas["EQUALS"]["arity"] == "Binary"
    assert set(schemas["EQUALS"]) == {"name", "arity", "multivaluedComparisonType", "supportedAttributeTypes"}
    assert sum(operator.documented for operator in OPERATORS) == 14
