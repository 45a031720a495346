"""Functions on dates. Between functions a date is the text ``M/d/yyyy h:mm:ss tt`` in UTC, as in the function reference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from .dotnet_dates import STYLES, Moment, add_months, parse_date, parse_exact, print_date, print_exact
from .functions import Arguments, Function, Outcome, Parameter
from .syntax import Node, Omitted

_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_TICKS_PER_SECOND = 10_000_000
_SECONDS = {"ww": 604_800, "d": 86_400, "h": 3_600, "n": 60, "s": 1}
_MONTHS = {"yyyy": 12, "m": 1}
_WITHOUT_STYLES = 3
_DEFAULT_STYLES = frozenset({"RoundtripKind", "AllowLeadingWhite", "AllowTrailingWhite"})


def _date(arguments: Arguments, parameter: str) -> datetime | None:
    text = arguments.text(parameter)
    return arguments.attempt(parameter, lambda: parse_date(text)) if text else None


def _c_date(arguments: Arguments) -> Outcome:
    at = _date(arguments, "expression")
    return None if at is None else print_date(at)


def _now(arguments: Arguments) -> Outcome:
    return print_date(arguments.scope.context.now)


def _interval(arguments: Arguments) -> str:
    interval = (arguments.text("interval") or "").lower()
    if interval not in _SECONDS and interval not in _MONTHS:
        raise arguments.fail("must be one of yyyy, m, d, ww, h, n, s", "interval")
    return interval


def _date_add(arguments: Arguments) -> Outcome:
    interval, value, at = _interval(arguments), arguments.required_integer("value"), _date(arguments, "dateTime")
    if at is None:
        return None
    if interval in _MONTHS:
        return print_date(arguments.attempt("value", lambda: add_months(at, value * _MONTHS[interval])))
    return print_date(arguments.attempt("value", lambda: at + timedelta(seconds=value * _SECONDS[interval])))


def _date_diff(arguments: Arguments) -> Outcome:
    """Date2 minus date1: years and months by their numbers, weeks by Sundays crossed, the rest in whole units toward zero."""
    interval = _interval(arguments)
    first, second = _date(arguments, "date1"), _date(arguments, "date2")
    if first is None or second is None:
        return None
    if interval == "yyyy":
        return second.year - first.year
    if interval == "m":
        return (second.year - first.year) * 12 + second.month - first.month
    if interval == "ww":
        return _weeks(second) - _weeks(first)
    return int((second - first) / timedelta(seconds=_SECONDS[interval]))


def _weeks(at: datetime) -> int:
    return at.toordinal() // 7  # the ordinal of every Sunday is a multiple of seven


def _date_from_num(arguments: Arguments) -> Outcome:
    ticks = arguments.integer("value")
    if ticks is None:
        return None
    return print_date(arguments.attempt("value", lambda: _FILETIME_EPOCH + timedelta(microseconds=ticks // 10)))


def _num_from_date(arguments: Arguments) -> Outcome:
    at = _date(arguments, "value")
    if at is None:
        return None
    since = at - _FILETIME_EPOCH
    return (since.days * _SECONDS["d"] + since.seconds) * _TICKS_PER_SECOND + since.microseconds * 10


def _format_date_time(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    if not source:
        return None
    styles = _styles(arguments)
    reading, writing = arguments.text("inputFormat"), arguments.text("outputFormat")
    moment = arguments.attempt("inputFormat", lambda: _read(source, reading or "", styles))
    return arguments.attempt("outputFormat", lambda: print_exact(moment, writing or ""))


def _read(source: str, date_format: str, styles: frozenset[str]) -> Moment:
    return parse_exact(source, date_format, styles)


def _styles(arguments: Arguments) -> frozenset[str]:
    text = arguments.text("dateTimeStyles")
    if not text:
        return _DEFAULT_STYLES
    styles = frozenset(style.strip() for style in text.split(","))
    if unknown := styles - STYLES:
        raise arguments.fail(f"unknown style {', '.join(sorted(unknown))}", "dateTimeStyles")
    return styles


def _arrange_format(arguments: tuple[Node, ...]) -> tuple[Node, ...]:
    """The SuccessFactors guide also writes FormatDateTime without its styles."""
    if len(arguments) == _WITHOUT_STYLES:
        return (arguments[0], Omitted(arguments[1].span), *arguments[1:])
    return arguments


_INTERVAL = Parameter("interval")

FUNCTIONS = (
    Function("CDate", (Parameter("expression"),), _c_date),
    Function("Now", (), _now, volatile=True),
    Function("DateAdd", (_INTERVAL, Parameter("value", "Integer"), Parameter("dateTime", "DateTime")), _date_add),
    Function("DateDiff", (_INTERVAL, Parameter("date1", "DateTime"), Parameter("date2", "DateTime")), _date_diff),
    Function("DateFromNum", (Parameter("value", "Integer"),), _date_from_num),
    Function("NumFromDate", (Parameter("value"),), _num_from_date),
    Function(
        "FormatDateTime",
        (
            Parameter("source"),
            Parameter("dateTimeStyles", required=False),
            Parameter("inputFormat"),
            Parameter("outputFormat"),
        ),
        _format_date_time,
        arrange=_arrange_format,
    ),
)
