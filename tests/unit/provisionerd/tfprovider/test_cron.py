"""Which cron expressions are read, and when two schedules overlap: exact, beside a dumb twin."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisionerd.tfprovider.cron import (
    Cron,
    check_pool_cron,
    check_script_cron,
    find_overlap,
    is_overlapping,
    parse_pool_cron,
)

# Dates repeat on weekdays every 28 years, leap days included (no century inside).
DATES = [date(2000, 1, 1) + timedelta(days=days) for days in range(28 * 366)]


def is_overlapping_on_a_calendar(one: Cron, other: Cron) -> bool:
    """The dumb twin: look at every date of a whole cycle."""

    def covers(cron: Cron, day: date) -> bool:
        weekday = (day.weekday() + 1) % 7
        return day.month in cron.months and cron.matches_day(day.day, weekday)

    days = any(covers(one, day) and covers(other, day) for day in DATES)
    return days and bool(one.hours & other.hours)


def a_field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    return st.just("*") | number.map(str) | span | number.map(lambda n: f"{n},{low}")


@given(
    *(
        st.tuples(a_field(0, 23), a_field(1, 31), a_field(1, 12), a_field(0, 6)).map(
            lambda fields: parse_pool_cron(" ".join(("*", *fields)))
        ),
    )
    * 2
)
def test_overlap_is_what_the_calendar_says(one: Cron, other: Cron) -> None:
    assert is_overlapping(one, other) == is_overlapping_on_a_calendar(one, other)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("* 8-18 * * 1-5", "* 19-23 * * 1-5", False),
        ("* 8-18 * * 1-5", "* 18-20 * * 5-6", True),
        ("* 8-18 * * MON-FRI", "* 8-18 * * sat,sun", False),
        ("* * 31 * *", "* * * 2 *", False),  # February has no 31st
        ("* * 29 2 *", "* * * 2 3", True),  # a leap day that is a Wednesday exists
        ("* * 1 * 1", "* * 15 * *", True),  # either day field: a Monday the 15th
        ("* */2 * * *", "* 1-23/2 * * *", False),
    ],
)
def test_overlaps(one: str, other: str, expected: bool) -> None:
    assert (find_overlap((one, other)) is not None) is expected


def test_the_overlapping_pair_is_named() -> None:
    assert find_overlap(("* 1 * * *", "* 2 * * *", "* 2-3 * * *")) == ("* 2 * * *", "* 2-3 * * *")


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("* 8-18 * *", "it has 4 fields; five are needed: * HOUR DOM MONTH DOW."),
        ("0 8-18 * * *", 'its minute field is "0"; it must be *'),
        ("* 24 * * *", 'its hour field has "24"; it must be *, numbers from 0 to 23'),
        ("* 18-8 * * *", 'its hour field has "18-8"'),
        ("* * 0 * *", 'its day of month field has "0"; it must be *, numbers from 1 to 31'),
        ("* * * jän *", 'its month field has "jän"'),
        ("* * * * 7", 'its day of week field has "7"; it must be *, numbers from 0 to 6'),
        ("* */0 * * *", 'its hour field has "*/0"'),
        ("* 1,,2 * * *", 'its hour field has ""'),
    ],
)
def test_a_bad_pool_schedule_is_told_apart(expression: str, complaint: str) -> None:
    said = check_pool_cron(expression)
    assert said is not None
    assert said.startswith(f'is "{expression}"; ')
    assert complaint in said


@pytest.mark.parametrize("expression", ["* * * * *", "* 8-18 ? JAN-mar 1-5", "* 5/6 1,15 */2 *"])
def test_a_good_pool_schedule_passes(expression: str) -> None:
    assert check_pool_cron(expression) is None


@pytest.mark.parametrize(
    "expression",
    ["0 0 22 * * *", "0 0 22 * *", "@hourly", "@every 1h30m", "TZ=Europe/Paris 0 0 22 * * MON"],
)
def test_script_schedules_start_with_seconds(expression: str) -> None:
    assert check_script_cron(expression) is None


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("0 22 * *", "six are needed: SECOND MINUTE HOUR DOM MONTH DOW"),
        ("0 0 24 * * *", "its hour field"),
        ("@sometimes", "it has 1 fields"),
    ],
)
def test_a_bad_script_schedule_is_told_apart(expression: str, complaint: str) -> None:
    assert complaint in (check_script_cron(expression) or "")
