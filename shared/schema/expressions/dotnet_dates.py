"""Dates as .NET reads and writes them, in the invariant culture.

Sources: "Custom date and time format strings", "Standard date and time format strings" and "DateTimeStyles", .NET docs.
Everything is UTC: a text without an offset is taken as UTC, one with an offset is converted. Eras (``g``) are refused.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta, timezone
from functools import lru_cache

CDATE_FORMAT = "M/d/yyyy h:mm:ss tt"
"""The form in which the expression language passes dates between its functions."""

STYLES = frozenset({
    "None", "AllowLeadingWhite", "AllowTrailingWhite", "AllowInnerWhite", "AllowWhiteSpaces", "NoCurrentDateDefault",
    "AdjustToUniversal", "AssumeLocal", "AssumeUniversal", "RoundtripKind",
})  # fmt: skip

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_STANDARD = {
    "d": "MM/dd/yyyy",
    "D": "dddd, dd MMMM yyyy",
    "f": "dddd, dd MMMM yyyy HH:mm",
    "F": "dddd, dd MMMM yyyy HH:mm:ss",
    "g": "MM/dd/yyyy HH:mm",
    "G": "MM/dd/yyyy HH:mm:ss",
    "m": "MMMM dd",
    "M": "MMMM dd",
    "o": "yyyy'-'MM'-'dd'T'HH':'mm':'ss'.'fffffffK",
    "O": "yyyy'-'MM'-'dd'T'HH':'mm':'ss'.'fffffffK",
    "r": "ddd, dd MMM yyyy HH':'mm':'ss 'GMT'",
    "R": "ddd, dd MMM yyyy HH':'mm':'ss 'GMT'",
    "s": "yyyy'-'MM'-'dd'T'HH':'mm':'ss",
    "t": "HH:mm",
    "T": "HH:mm:ss",
    "u": "yyyy'-'MM'-'dd HH':'mm':'ss'Z'",
    "U": "dddd, dd MMMM yyyy HH:mm:ss",
    "y": "yyyy MMMM",
    "Y": "yyyy MMMM",
}
_SPECIFIER = re.compile(r"d+|f+|F+|g+|h+|H+|K|m+|M+|s+|t+|y+|z+|%.|\\.|'[^']*'|\"[^\"]*\"|.", re.DOTALL)
_LONGEST = {"f": 7, "F": 7, "K": 1}
_ISO = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?\s*(Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_AMERICAN = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4})(?:\s+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*([AaPp][Mm])?)?\s*(Z|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_NOON = 12
_ABBREVIATED = 3  # ddd and MMM are abbreviated names; yyy and zzz are the first long forms
_CENTURY_TURN = 50  # .NET's invariant calendar reads two-digit years up to 49 as 20xx


class DateFormatError(ValueError):
    """A text that is no date, or a format that cannot be translated."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, aware and in UTC. ``utc`` is .NET's DateTimeKind.Utc: the text itself named its offset."""

    at: datetime
    utc: bool = False


def parse_date(text: str) -> datetime:
    """A date in ISO 8601 or ``M/d/yyyy [h:mm[:ss] [tt]]``, with or without an offset; the answer is in UTC.

    Raises :class:`DateFormatError`.
    """
    stripped = text.strip()
    iso = _ISO.fullmatch(stripped)
    american = None if iso else _AMERICAN.fullmatch(stripped)
    try:
        if iso is not None:
            year, month, day, hour, minute, second, fraction, zone = iso.groups()
            return _assemble(int(year), int(month), int(day), (hour, minute, second, fraction), zone)
        if american is not None:
            month, day, year, hour, minute, second, fraction, half, zone = american.groups()
            hour = str(_hour_of_day(int(hour), half)) if half else hour
            return _assemble(int(year), int(month), int(day), (hour, minute, second, fraction), zone)
    except (ValueError, OverflowError) as error:
        raise DateFormatError(f"not a valid date: {error}") from error
    raise DateFormatError("not a date: use ISO 8601 or M/d/yyyy h:mm:ss tt, or read it with FormatDateTime")


def _assemble(year: int, month: int, day: int, clock: tuple[str | None, ...], zone: str | None) -> datetime:
    hour, minute, second, fraction = clock
    microsecond = int((fraction or "0").ljust(6, "0")[:6])
    local = datetime(year, month, day, int(hour or 0), int(minute or 0), int(second or 0), microsecond, tzinfo=_zone(zone))
    return local.astimezone(UTC)


def _zone(text: str | None) -> timezone:
    if text in {None, "Z", "GMT", ""}:
        return UTC
    digits = str(text)[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]))
    return timezone(-offset if str(text)[0] == "-" else offset)


def _hour_of_day(hour: int, half: str) -> int:
    if not 1 <= hour <= _NOON:
        raise ValueError("an hour with AM or PM is between 1 and 12")
    return hour % _NOON + (_NOON if half[0] in "Pp" else 0)


def print_date(at: datetime) -> str:
    """``M/d/yyyy h:mm:ss tt`` in UTC."""
    return print_exact(Moment(at.astimezone(UTC)), CDATE_FORMAT)


def print_exact(moment: Moment, date_format: str) -> str:
    """``DateTime.ToString(format, InvariantCulture)``. Raises :class:`DateFormatError`."""
    return "".join(_print(token, moment) for token in _tokens(date_format))


@lru_cache(maxsize=256)
def _tokens(date_format: str) -> tuple[str, ...]:
    if len(date_format) == 1:
        if date_format not in _STANDARD:
            raise DateFormatError(f'"{date_format}" is not a standard date format of .NET')
        date_format = _STANDARD[date_format]
    if not date_format:
        raise DateFormatError("the date format is empty")
    tokens: list[str] = []
    for found in _SPECIFIER.finditer(date_format):
        token = found.group()
        if token[0] == "%" and len(token) > 1:
            token = token[1]
        if token[0] in "'\"" and len(token) == 1:
            raise DateFormatError("the date format has a quotation mark that is not closed")
        if token in {"\\", "%"}:
            raise DateFormatError(f"the date format ends with {token}")
        if token[0] == "g":
            raise DateFormatError('eras ("g") cannot be translated')
        if len(token) > _LONGEST.get(token[0], len(token)):
            raise DateFormatError(f'"{token}" is longer than .NET allows')
        tokens.append(token)
    return tuple(tokens)


def _print(token: str, moment: Moment) -> str:  # noqa: C901, PLR0912 - one case for each specifier reads best as one table
    at = moment.at
    length = len(token)
    match token[0]:
        case "d":
            return _digits(at.day, length) if length < _ABBREVIATED else _name(_DAYS[at.weekday()], length)
        case "M":
            return _digits(at.month, length) if length < _ABBREVIATED else _name(_MONTHS[at.month - 1], length)
        case "y":
            return _digits(at.year % 100, length) if length < _ABBREVIATED else str(at.year).zfill(length)
        case "h":
            return _digits((at.hour - 1) % _NOON + 1, length)
        case "H":
            return _digits(at.hour, length)
        case "m":
            return _digits(at.minute, length)
        case "s":
            return _digits(at.second, length)
        case "t":
            half = "AM" if at.hour < _NOON else "PM"
            return half[:1] if length == 1 else half
        case "f":
            return f"{at.microsecond:06d}0"[:length]
        case "F":
            return f"{at.microsecond:06d}0"[:length].rstrip("0")
        case "z":
            return {1: "+0", 2: "+00"}.get(length, "+00:00")
        case "K":
            return "Z" if moment.utc else ""
        case "\\":
            return token[1]
        case "'" | '"':
            return token[1:-1]
        case _:
            return token


def _digits(number: int, length: int) -> str:
    return str(number).zfill(min(length, 2))


def _name(name: str, length: int) -> str:
    return name[:3] if length == _ABBREVIATED else name


def parse_exact(text: str, date_format: str, styles: frozenset[str] = frozenset()) -> Moment:
    """``DateTime.ParseExact(text, format, InvariantCulture, styles)``, in UTC. A format without a date means 1 January 0001.

    Raises :class:`DateFormatError`.
    """
    found = _reader(date_format, styles).fullmatch(text)
    if found is None:
        raise DateFormatError(f'the value does not have the format "{date_format}"')
    parts = {key: value for key, value in found.groupdict().items() if value is not None}
    zone = parts.get("zone", "")
    try:
        at = _assemble(
            _year(parts),
            _month(parts),
            int(parts.get("day", "1")),
            (str(_hour(parts)), parts.get("minute"), parts.get("second"), parts.get("fraction")),
            _normal_zone(zone),
        )
    except (ValueError, OverflowError) as error:
        raise DateFormatError(f"not a valid date: {error}") from error
    if "weekday" in parts and _DAYS[at.weekday()][:3].lower() != parts["weekday"][:3].lower():
        raise DateFormatError("the day of the week does not belong to the date")
    return Moment(at, utc=bool(zone))


def _year(parts: dict[str, str]) -> int:
    year = int(parts.get("year", "1"))
    if "short_year" in parts:
        short = int(parts["short_year"])
        year = short + (2000 if short < _CENTURY_TURN else 1900)
    return year


def _month(parts: dict[str, str]) -> int:
    if "month_name" in parts:
        name = parts["month_name"].lower()
        return next(number for number, month in enumerate(_MONTHS, 1) if month.lower().startswith(name[:3]))
    return int(parts.get("month", "1"))


def _hour(parts: dict[str, str]) -> int:
    if "hour12" in parts:
        hour = int(parts["hour12"])
        return _hour_of_day(hour, parts["half"]) if "half" in parts else hour % _NOON
    hour = int(parts.get("hour", "0"))
    if "half" in parts and (hour >= _NOON) != (parts["half"][0] in "Pp"):
        raise ValueError("the hour contradicts AM or PM")
    return hour


def _normal_zone(zone: str) -> str | None:
    if zone[:1] not in {"+", "-"}:
        return None
    hours, _, minutes = zone[1:].partition(":")
    return f"{zone[0]}{hours.zfill(2)}{minutes or '00'}"


@lru_cache(maxsize=256)
def _reader(date_format: str, styles: frozenset[str]) -> re.Pattern[str]:
    def allowed(style: str) -> bool:
        return style in styles or "AllowWhiteSpaces" in styles

    inner = r"\s*" if allowed("AllowInnerWhite") else ""
    parts = [_read(token) for token in _tokens(date_format)]
    body = inner.join(part for part in parts if part)
    leading = r"\s*" if allowed("AllowLeadingWhite") else ""
    trailing = r"\s*" if allowed("AllowTrailingWhite") else ""
    try:
        return re.compile(leading + body + trailing, re.IGNORECASE | re.ASCII)
    except re.PatternError as error:
        raise DateFormatError("the date format names a part twice") from error


def _read(token: str) -> str:  # noqa: C901, PLR0912 - one case for each specifier reads best as one table
    length = len(token)
    short = r"\d{1,2}" if length == 1 else r"\d{2}"
    match token[0]:
        case "d" if length >= _ABBREVIATED:
            return _names("weekday", _DAYS, length)
        case "d":
            return f"(?P<day>{short})"
        case "M" if length >= _ABBREVIATED:
            return _names("month_name", _MONTHS, length)
        case "M":
            return f"(?P<month>{short})"
        case "y":
            return f"(?P<short_year>{short})" if length < _ABBREVIATED else rf"(?P<year>\d{{{length}}})"
        case "h":
            return f"(?P<hour12>{short})"
        case "H":
            return f"(?P<hour>{short})"
        case "m":
            return f"(?P<minute>{short})"
        case "s":
            return f"(?P<second>{short})"
        case "t":
            return "(?P<half>[AP])" if length == 1 else "(?P<half>[AP]M)"
        case "f":
            return rf"(?P<fraction>\d{{{length}}})"
        case "F":
            return rf"(?P<fraction>\d{{0,{length}}})"
        case "z":
            return r"(?P<zone>[+-]\d{1,2})" if length < _ABBREVIATED else r"(?P<zone>[+-]\d{1,2}:\d{2})"
        case "K":
            return r"(?P<zone>Z|[+-]\d{2}:\d{2})?"
        case "Z":
            return "(?P<zone>Z|GMT)"
        case "\\":
            return re.escape(token[1])
        case "'" | '"':
            return re.escape(token[1:-1])
        case _:
            return re.escape(token)


def _names(group: str, names: tuple[str, ...], length: int) -> str:
    choice = "|".join(name[:3] if length == _ABBREVIATED else name for name in names)
    return f"(?P<{group}>{choice})"


def add_months(at: datetime, months: int) -> datetime:
    """Months later, on the same day or on the month's last one. Raises :class:`OverflowError` beyond the year 9999."""
    index = at.year * 12 + at.month - 1 + months
    year, month = divmod(index, 12)
    if not MINYEAR <= year <= MAXYEAR:
        raise OverflowError(f"the year {year} is out of range")
    return at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))
