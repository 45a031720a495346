"""The operators of scoping filters.

The 14 of Entra (source: "Scoping users or groups to be provisioned with scoping filters", Microsoft Entra docs), and ours for
dates, membership and multi-valued attributes. On NULL and on "" every operator of Entra is false, but IS NULL.

Names are taken in any letter case, with blanks or underscores. Before a name may stand ANY or ALL: how many values of a
multi-valued attribute must satisfy it. Without one a positive operator needs any value, a negative one (NOT ..., !&) all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from .expressions.dotnet_dates import DateFormatError, parse_date
from .expressions.dotnet_regex import PatternError, compile_pattern
from .values import Scalar, boolean_of, number_of, text_of

type Quantifier = Literal["ANY", "ALL"]
type Test = Callable[[Scalar, str, Moment], bool | None]

REGEX_SECONDS = 0.5
_RELATIVE = re.compile(r"NOW(?:\s*([+-])\s*([0-9]{1,5})\s*([dhm]))?", re.IGNORECASE)
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@dataclass(frozen=True, slots=True)
class Moment:
    """The clock of one evaluation, aware, and the seconds that a pattern may take."""

    now: datetime
    regex_seconds: float = REGEX_SECONDS


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator. ``test`` says whether one value satisfies one operand; None where the two cannot be compared.

    ``negative``: true only if the test holds for every operand and, unless ANY is written, for every value.
    ``empty``: the answer for NULL and "". ``operand``: what the operand must look like. ``types``: attribute types it fits.
    """

    name: str
    test: Test
    negative: bool = False
    empty: bool = False
    operand: Literal["none", "text", "integer", "pattern", "date"] = "text"
    types: tuple[str, ...] = ("String",)
    documented: bool = True

    def operand_fault(self, values: tuple[str, ...]) -> str | None:
        """Why the operands do not fit, or None."""
        if self.operand == "none":
            return f"{self.name} takes no value" if any(values) else None
        if not values:
            return f"{self.name} needs a value"
        checks: dict[str, Callable[[str], str | None]] = {
            "integer": _integer_fault,
            "pattern": _pattern_fault,
            "date": _date_fault,
        }
        check = checks.get(self.operand)
        faults = (check(value) for value in values) if check else ()
        return next((fault for fault in faults if fault), None)


def _integer_fault(value: str) -> str | None:
    return (
        None if isinstance(number_of(value), int) else f'"{value}" is not a whole number, and only whole numbers can be compared'
    )


def _pattern_fault(value: str) -> str | None:
    try:
        compile_pattern(value)
    except PatternError as error:
        return str(error)
    return None


def _date_fault(value: str) -> str | None:
    if _RELATIVE.fullmatch(value.strip()):
        return None
    try:
        parse_date(value)
    except DateFormatError:
        return f'"{value}" is neither a date nor NOW, NOW+14d, NOW-12h'
    return None


def _operand_date(value: str, now: datetime) -> datetime:
    relative = _RELATIVE.fullmatch(value.strip())
    if relative is None:
        return parse_date(value)
    sign, amount, unit = relative.groups()
    if unit is None:
        return now
    distance = timedelta(**{_UNITS[unit.lower()]: int(amount)})
    return now - distance if sign == "-" else now + distance


def _equals(value: Scalar, operand: str, _moment: Moment) -> bool:
    return text_of(value) == operand


def _not_equals(value: Scalar, operand: str, _moment: Moment) -> bool:
    return text_of(value) != operand


def _occurs_in(value: Scalar, operand: str, _moment: Moment) -> bool:
    """Two whole numbers are tested bit by bit, anything else as text inside the given text."""
    number = number_of(operand)
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(number, int):
        return value & number != 0
    return text_of(value) in operand


def _does_not_occur_in(value: Scalar, operand: str, moment: Moment) -> bool:
    return not _occurs_in(value, operand, moment)


def _ends_with(value: Scalar, operand: str, _moment: Moment) -> bool:
    return text_of(value).endswith(operand)


def _includes(value: Scalar, operand: str, _moment: Moment) -> bool:
    return operand in text_of(value)


def _greater(value: Scalar, operand: str, _moment: Moment) -> bool | None:
    first, second = number_of(value), number_of(operand)
    return first > second if isinstance(first, int) and isinstance(second, int) else None


def _greater_or_equal(value: Scalar, operand: str, _moment: Moment) -> bool | None:
    first, second = number_of(value), number_of(operand)
    return first >= second if isinstance(first, int) and isinstance(second, int) else None


def _is_true(value: Scalar, _operand: str, _moment: Moment) -> bool | None:
    return boolean_of(value)


def _is_false(value: Scalar, _operand: str, _moment: Moment) -> bool | None:
    flag = boolean_of(value)
    return None if flag is None else not flag


def _never(_value: Scalar, _operand: str, _moment: Moment) -> bool:
    return False


def _always(_value: Scalar, _operand: str, _moment: Moment) -> bool:
    return True


def _regex_match(value: Scalar, operand: str, moment: Moment) -> bool:
    return compile_pattern(operand).matches(text_of(value), moment.regex_seconds)


def _not_regex_match(value: Scalar, operand: str, moment: Moment) -> bool:
    return not _regex_match(value, operand, moment)


def _date_test(compare: Callable[[datetime, datetime], bool]) -> Test:
    def test(value: Scalar, operand: str, moment: Moment) -> bool | None:
        try:
            return compare(parse_date(text_of(value)), _operand_date(operand, moment.now))
        except DateFormatError:
            return None

    return test


_TEXT = ("String", "Integer", "Reference", "Boolean", "DateTime", "Binary")
_NUMBERS = ("Integer", "String")
_FLAGS = ("Boolean", "String")
_DATES = ("DateTime", "String")
_SETS = ("Reference", "String")

OPERATORS: tuple[Operator, ...] = (
    Operator("EQUALS", _equals, types=_TEXT),
    Operator("NOT EQUALS", _not_equals, negative=True, types=_TEXT),
    Operator("IS TRUE", _is_true, operand="none", types=_FLAGS),
    Operator("IS FALSE", _is_false, operand="none", types=_FLAGS),
    Operator("IS NULL", _never, empty=True, operand="none", types=_TEXT),
    Operator("IS NOT NULL", _always, operand="none", types=_TEXT),
    Operator("REGEX MATCH", _regex_match, operand="pattern", types=_NUMBERS),
    Operator("NOT REGEX MATCH", _not_regex_match, negative=True, operand="pattern", types=_NUMBERS),
    Operator("Greater_Than", _greater, operand="integer", types=_NUMBERS),
    Operator("Greater_Than_OR_EQUALS", _greater_or_equal, operand="integer", types=_NUMBERS),
    Operator("Includes", _includes, types=("String", "Reference")),
    Operator("ENDS_WITH", _ends_with),
    Operator("&", _occurs_in, types=_NUMBERS),
    Operator("!&", _does_not_occur_in, negative=True, types=_NUMBERS),
    Operator("IS MEMBER OF", _equals, types=_SETS, documented=False),
    Operator("IS NOT MEMBER OF", _not_equals, negative=True, empty=True, types=_SETS, documented=False),
    Operator("BEFORE", _date_test(lambda at, limit: at < limit), operand="date", types=_DATES, documented=False),
    Operator("ON OR BEFORE", _date_test(lambda at, limit: at <= limit), operand="date", types=_DATES, documented=False),
    Operator("AFTER", _date_test(lambda at, limit: at > limit), operand="date", types=_DATES, documented=False),
    Operator("ON OR AFTER", _date_test(lambda at, limit: at >= limit), operand="date", types=_DATES, documented=False),
)


def _spelled(name: str) -> str:
    return " ".join(name.replace("_", " ").upper().split())


_BY_NAME = {_spelled(operator.name): operator for operator in OPERATORS}


def find_operator(name: str) -> tuple[Operator, Quantifier] | None:
    """The operator and how many values of a multi-valued attribute must satisfy it; None for an unknown name."""
    spelled = _spelled(name)
    first, _, rest = spelled.partition(" ")
    quantifier: Quantifier | None = "ANY" if first == "ANY" else "ALL" if first == "ALL" else None
    operator = _BY_NAME.get(rest if quantifier else spelled)
    if operator is None:
        return None
    return operator, quantifier or ("ALL" if operator.negative else "ANY")


def filter_operator_schemas() -> list[dict[str, Any]]:
    """What ``GET schema/filterOperators`` lists: Graph's filterOperatorSchema of every operator, ours after Entra's."""
    return [
        {
            "name": operator.name,
            "arity": "Unary" if operator.operand == "none" else "Binary",
            "multivaluedComparisonType": "All" if operator.negative else "Any",
            "supportedAttributeTypes": list(operator.types),
        }
        for operator in OPERATORS
    ]
