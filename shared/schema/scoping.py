"""Who is in scope: filters evaluated on a source object, with the verdict of every clause.

Clauses of a filter group are ANDed, groups are ORed (source: "Scoping users or groups to be provisioned with scoping filters",
Microsoft Entra docs). Input filter groups come first: who fails them is left alone, not deprovisioned (source: resource filter,
Microsoft Graph docs).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .expressions.dotnet_regex import PatternError
from .model import Filter, FilterClause, FilterGroup
from .operators import Moment, Operator, Quantifier, filter_operator_schemas, find_operator
from .values import Scalar, Value, is_empty, items_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ClauseVerdict", "ScopeVerdict", "evaluate_scope", "filter_attributes", "filter_operator_schemas", "filter_values"]


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """One clause, judged: "{title} {attribute} {operator} {value}" as the on-demand page of Entra shows it.

    ``value`` is the filter's operand, never the person's attribute. ``why`` says what decided.
    """

    title: str
    attribute: str
    operator: str
    value: str
    passed: bool
    why: str


@dataclass(frozen=True, slots=True)
class ScopeVerdict:
    """``in_scope``: the filter lets the object in. ``input_filtered``: it failed the input filter and must be left alone."""

    in_scope: bool
    clauses: tuple[ClauseVerdict, ...] = ()
    input_filtered: bool = False


def evaluate_scope(scope: Filter | None, source: Mapping[str, Value], *, now: datetime | None = None) -> ScopeVerdict:
    """Judge an object. No filter, or one without groups, lets everybody in. ``now`` is the clock of relative dates, aware.

    Every clause is evaluated, so that the verdict explains itself. A clause that cannot be evaluated (text where a number is
    needed, a pattern that runs out of time, an unknown operator) fails, and its ``why`` says so.
    """
    if scope is None:
        return ScopeVerdict(in_scope=True)
    moment = Moment(now or datetime.now(UTC))
    admitted, early = _any_group(scope.input_groups, source, moment)
    if not admitted:
        return ScopeVerdict(in_scope=False, clauses=early, input_filtered=True)
    passed, clauses = _any_group(scope.groups, source, moment)
    return ScopeVerdict(in_scope=passed, clauses=early + clauses)


def filter_attributes(scope: Filter | None) -> frozenset[str]:
    """The source attributes that a filter reads."""
    if scope is None:
        return frozenset()
    return frozenset(clause.attribute for group in (*scope.groups, *scope.input_groups) for clause in _clauses(group))


def filter_values(scope: Filter | None, attribute: str) -> frozenset[str]:
    """The operands that a filter compares an attribute with."""
    groups = () if scope is None else (*scope.groups, *scope.input_groups)
    return frozenset(
        value for group in groups for clause in _clauses(group) if clause.attribute == attribute for value in clause.values
    )


def _clauses(group: FilterGroup) -> tuple[FilterClause, ...]:
    return tuple(
        clause for entry in group.clauses for clause in ((entry,) if isinstance(entry, FilterClause) else _clauses(entry))
    )


def _any_group(
    groups: tuple[FilterGroup, ...], source: Mapping[str, Value], moment: Moment
) -> tuple[bool, tuple[ClauseVerdict, ...]]:
    judged = [_group(group, group.name, source, moment) for group in groups]
    verdicts = tuple(verdict for _, clauses in judged for verdict in clauses)
    return (not judged or any(passed for passed, _ in judged)), verdicts


def _group(group: FilterGroup, title: str, source: Mapping[str, Value], moment: Moment) -> tuple[bool, tuple[ClauseVerdict, ...]]:
    results: list[bool] = []
    verdicts: list[ClauseVerdict] = []
    for entry in group.clauses:
        if isinstance(entry, FilterGroup):
            passed, inner = _group(entry, entry.name or title, source, moment)
            verdicts.extend(inner)
        else:
            verdict = _clause(entry, title, source, moment)
            passed = verdict.passed
            verdicts.append(verdict)
        results.append(passed)
    met = any(results) if group.operator == "OR" else all(results)
    return met and bool(results), tuple(verdicts)


def _clause(clause: FilterClause, title: str, source: Mapping[str, Value], moment: Moment) -> ClauseVerdict:
    passed, why = _judge(clause, source.get(clause.attribute), moment)
    return ClauseVerdict(title, clause.attribute, clause.operator, ", ".join(clause.values), passed, why)


def _judge(clause: FilterClause, value: Value, moment: Moment) -> tuple[bool, str]:
    found = find_operator(clause.operator)
    if found is None:
        return False, f'unknown operator "{clause.operator}"'
    operator, quantifier = found
    items = tuple(item for item in items_of(value) if not is_empty(item))
    if not items:
        return operator.empty, "the attribute has no value"
    if operator.name in {"IS NULL", "IS NOT NULL"}:
        return operator.name == "IS NOT NULL", "the attribute has a value"
    try:
        results = [_satisfies(operator, item, clause.values, moment) for item in items]
    except PatternError as error:
        return False, str(error)
    return _combined(operator, quantifier, results)


def _combined(operator: Operator, quantifier: Quantifier, results: list[bool | None]) -> tuple[bool, str]:
    if all(result is None for result in results):
        wanted = {"integer": "a whole number", "date": "a date", "none": "True or False"}.get(operator.operand, "comparable")
        return False, f"the attribute's value is not {wanted}"
    passed = all(results) if quantifier == "ALL" else any(results)
    if len(results) == 1:
        return passed, "the value satisfies the clause" if passed else "the value does not satisfy the clause"
    held = sum(1 for result in results if result)
    return passed, f"{held} of {len(results)} values satisfy the clause, {quantifier.lower()} must"


def _satisfies(operator: Operator, item: Scalar, operands: tuple[str, ...], moment: Moment) -> bool | None:
    """One value against all operands: any of them for a positive operator, none of them for a negative one."""
    results = [operator.test(item, operand, moment) for operand in operands or ("",)]
    if all(result is None for result in results):
        return None
    return all(results) if operator.negative else any(results)


def describe(verdict: ClauseVerdict) -> str:
    """The clause in one line, as the on-demand page of Entra writes it."""
    return " ".join(text_of(part) for part in (verdict.title, verdict.attribute, verdict.operator, verdict.value) if part)
