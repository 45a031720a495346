"""NCRONTAB schedules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbox.host.ncrontab import Schedule, ScheduleError

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("0 */5 * * * *", "2026-11-23 12:05:00"),
        ("*/5 * * * *", "2026-11-23 12:05:00"),
        ("30 0 * * * *", "2026-11-23 12:00:30"),
        ("0 0 2 * * *", "2026-11-24 02:00:00"),
        ("0 0 12 * * *", "2026-11-24 12:00:00"),
        ("0 30 9 * * MON-FRI", "2026-11-24 09:30:00"),
        ("0 30 9 * * sat,Sunday", "2026-11-28 09:30:00"),
        ("0 0 0 * * 0", "2026-11-29 00:00:00"),
        ("0 0 0 1 Jan *", "2027-01-01 00:00:00"),
        ("0 0 0 31 * *", "2026-12-31 00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 0 13 * 5", "2027-08-13 00:00:00"),
        ("0 10-40/15 * * * *", "2026-11-23 12:10:00"),
        ("0 50/5 * * * *", "2026-11-23 12:50:00"),
        ("* * * * * *", "2026-11-23 12:00:01"),
    ],
)
def test_the_next_occurrence_is_the_one_that_the_expression_says(text: str, following: str) -> None:
    assert Schedule.parse(text).next_after(NOON) == datetime.fromisoformat(following).replace(tzinfo=UTC)


def test_an_occurrence_is_later_than_the_moment_even_by_less_than_a_second() -> None:
    schedule = Schedule.parse("0 0 * * * *")
    assert schedule.next_after(NOON).hour == 13
    assert schedule.next_after(NOON.replace(hour=11, minute=59, second=59, microsecond=999_999)) == NOON


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * * *", "60 * * * * *", "0 0 24 * * *", "0 0 0 0 * *", "0 0 0 1 13 *", "0 0 0 * * 7",
     "0 0 0 * * Foo", "0 5-1 * * * *", "0 */0 * * * *", "0 ? * * * *", "00:05:00", "0 0 0 30 2 *", "0 -5 * * * *", "0 , * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_or_never_occurs_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule.parse(text)


def test_more_often_than_once_a_minute_is_not_monitored() -> None:
    assert Schedule.parse("*/30 * * * * *").fires_more_than_once_a_minute()
    assert not Schedule.parse("15 * * * * *").fires_more_than_once_a_minute()
