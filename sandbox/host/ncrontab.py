"""NCRONTAB schedules in UTC: six fields, seconds first, or five as in cron.

Source: Azure Functions docs, "Timer trigger for Azure Functions", NCRONTAB expressions; NCrontab's own rule that day of month
and day of week must both match (cron would take either).
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name.lower(): (number + 1) % 7 for number, name in enumerate(calendar.day_abbr)}
_FIELDS_WITH_SECONDS = 6
_FIELDS_OF_CRON = 5
# 29 February on one weekday comes round within 40 years (no leap year in 2100).
_HORIZON = timedelta(days=366 * 41)


class ScheduleError(ValueError):
    """A schedule that is not NCRONTAB, or that never occurs."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: dict[str, int]

    def parse(self, text: str) -> frozenset[int]:
        """Values of a field: ``*``, numbers, names, lists, ranges and steps."""
        values: set[int] = set()
        for item in text.split(","):
            span, slash, step_text = item.partition("/")
            step = self._number(step_text, least=1) if slash else 1
            first_text, dash, last_text = span.partition("-")
            if span == "*":
                first, last = self.least, self.most
            elif dash:
                first, last = self._number(first_text), self._number(last_text)
            else:
                first = self._number(first_text)
                last = self.most if slash else first
            if first > last:
                raise ScheduleError(f"the {self.name} range {span!r} runs backwards")
            values.update(range(first, last + 1, step))
        return frozenset(values)

    def _number(self, text: str, least: int | None = None) -> int:
        named = self.names.get(text[:3].lower()) if text.isalpha() else None
        if named is not None:
            return named
        if not text.isdecimal() or not (self.least if least is None else least) <= int(text) <= self.most:
            raise ScheduleError(f"{text!r} is not a {self.name} ({self.least} to {self.most})")
        return int(text)


_FIELDS = (
    _Field("second", 0, 59, {}),
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule; ``text`` is the expression as written."""

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Parse an NCRONTAB expression; ScheduleError says which field is wrong."""
        fields = text.split()
        if len(fields) == _FIELDS_OF_CRON:
            fields = ["0", *fields]
        if len(fields) != _FIELDS_WITH_SECONDS:
            raise ScheduleError(
                f"the schedule {text!r} is not NCRONTAB: six fields {{sec}} {{min}} {{hour}} {{day}} {{month}} {{dow}}"
            )
        try:
            schedule = cls(text, *(field.parse(value) for field, value in zip(_FIELDS, fields, strict=True)))
        except ScheduleError as error:
            raise ScheduleError(f"the schedule {text!r} is not NCRONTAB: {error}") from error
        if schedule._first(datetime(2024, 1, 1, tzinfo=UTC)) is None:
            raise ScheduleError(f"the schedule {text!r} never occurs")
        return schedule

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence later than ``moment``, both in UTC."""
        occurrence = self._first(moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1))
        if occurrence is None:
            raise ScheduleError(f"the schedule {self.text!r} does not occur any more")
        return occurrence

    def fires_more_than_once_a_minute(self) -> bool:
        """Whether the host refuses to monitor it (Timer trigger docs, ``useMonitor``)."""
        return len(self.seconds) > 1

    def _first(self, moment: datetime) -> datetime | None:
        """The first occurrence at ``moment`` or later."""
        end = moment + _HORIZON
        while moment < end:
            if moment.month not in self.months:
                moment = (moment.replace(day=1, hour=0, minute=0, second=0) + timedelta(days=32)).replace(day=1)
            elif moment.day not in self.days or moment.isoweekday() % 7 not in self.weekdays:
                moment = moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0, second=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment = moment.replace(second=0) + timedelta(minutes=1)
            elif moment.second not in self.seconds:
                moment += timedelta(seconds=1)
            else:
                return moment
        return None
