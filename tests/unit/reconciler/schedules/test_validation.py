"""Sets of schedules: overlaps are found exactly, and shown."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.schedules import ScheduleInvalid, parse_schedule, validate_schedules
from reconciler.core.schedules.cron import CronMask
from reconciler.core.schedules.validation import find_clash

_NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
_FORTY_YEARS = [date(2000, 1, 1) + timedelta(days=day) for day in range(366 * 41)]


def test_schedules_that_never_meet_are_accepted() -> None:
    rows = (("* 8-18 * * 1-5", 5), ("* 19-23 * * 1-5", 2), ("* * * * 0,6", 1))
    schedules, zone = validate_schedules(rows, "Europe/Paris", _NOW)
    assert [(schedule.cron, schedule.instances) for schedule in schedules] == list(rows)
    assert zone.key == "Europe/Paris"


def test_a_clash_is_shown_by_the_next_date() -> None:
    with pytest.raises(ScheduleInvalid) as caught:
        validate_schedules((("* 8-18 * * 1-5", 5), ("* 18-20 1 * *", 2)), "", _NOW)
    assert caught.value.field == "schedules"
    assert str(caught.value) == (
        'schedules overlap: "* 8-18 * * 1-5" and "* 18-20 1 * *" are both open on Monday 2027-03-01'
        " at 18:00; allowed is at most one open schedule at any moment."
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("* 8 1 * 1", "* 8 2 * 2", date(2027, 6, 1)),
        ("* 8 29 2 *", "* 8 * 2 1", date(2044, 2, 29)),
        ("* 8 30 1,2 *", "* 8 * 2 *", None),
        ("* 8 * * 1", "* 9 * * 1", None),
        ("* 8 * 1 *", "* 8 * 2 *", None),
    ],
)
def test_a_clash_is_found_if_some_year_has_one(
    first: str, second: str, expected: date | None
) -> None:
    clash = find_clash([parse_schedule(first, 1), parse_schedule(second, 1)], _NOW.date())
    assert (None if clash is None else clash.day) == expected


@st.composite
def _crons(draw: st.DrawFn) -> str:
    hour, day = draw(st.integers(0, 2)), draw(st.integers(1, 31))
    month, weekday = draw(st.integers(1, 12)), draw(st.integers(0, 6))
    days, months, weekdays = (
        draw(st.sampled_from([["*", str(day)], ["*", str(month)], ["*", str(weekday)]][index]))
        for index in range(3)
    )
    return f"* {hour}-3 {days} {months} {weekdays}"


def _is_open(mask: CronMask, day: date) -> bool:
    by_day, by_weekday = mask.days >> day.day & 1, mask.weekdays >> day.isoweekday() % 7 & 1
    is_open = (by_day or by_weekday) if mask.is_either_day else (by_day and by_weekday)
    return bool(is_open and mask.months >> day.month & 1)


@settings(deadline=None, max_examples=25)
@given(_crons(), _crons())
def test_overlaps_are_those_a_look_at_every_date_finds(first: str, second: str) -> None:
    try:
        one, other = parse_schedule(first, 1), parse_schedule(second, 1)
    except ScheduleInvalid:
        return  # a date that never comes
    expected = next(
        (day for day in _FORTY_YEARS if _is_open(one.mask, day) and _is_open(other.mask, day)),
        None,
    )
    clash = find_clash([one, other], _FORTY_YEARS[0])
    assert (None if clash is None else clash.day) == expected


@pytest.mark.parametrize(
    ("schedules", "timezone", "field"),
    [
        ((("* 8 * * *", 1), ("* 9 * * 9", 1)), "", "schedules.1.cron"),
        ((("* 8 * * *", -1),), "", "schedules.0.instances"),
        ((), "Nowhere", "timezone"),
        (tuple(("* 8 * * *", 1) for _ in range(51)), "", "schedules"),
    ],
)
def test_a_refusal_names_the_field(
    schedules: tuple[tuple[str, int], ...], timezone: str, field: str
) -> None:
    with pytest.raises(ScheduleInvalid) as caught:
        validate_schedules(schedules, timezone, _NOW)
    assert caught.value.field == field
