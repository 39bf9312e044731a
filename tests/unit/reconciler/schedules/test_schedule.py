"""Which schedule is open, to the second, in the preset's time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.schedules import (
    Schedule,
    ScheduleInvalid,
    desired_size,
    matches,
    parse_schedule,
    parse_timezone,
)
from testkit.cron_twin import matches_minute

_BERLIN = parse_timezone("Europe/Berlin")
_UTC = parse_timezone("")
_OFFICE = parse_schedule("* 8-18 * * 1-5", 5)
_SECOND = timedelta(seconds=1)


def test_a_window_is_exact_to_the_second() -> None:
    opens, closes = datetime(2027, 3, 1, 8, tzinfo=UTC), datetime(2027, 3, 1, 19, tzinfo=UTC)
    almost = timedelta(microseconds=1)
    seen = [
        matches(_OFFICE, moment, _UTC)
        for moment in (opens - almost, opens, opens + _SECOND, closes - almost, closes)
    ]
    assert seen == [False, True, True, True, False]


def test_a_window_follows_the_clocks_of_its_zone() -> None:
    winter, summer = datetime(2027, 3, 26, 7, tzinfo=UTC), datetime(2027, 3, 29, 6, tzinfo=UTC)
    seen = [
        matches(_OFFICE, moment, _BERLIN)
        for moment in (winter - _SECOND, winter, summer - _SECOND, summer)
    ]
    assert seen == [False, True, False, True]


def test_an_hour_that_is_skipped_never_opens_and_one_that_is_repeated_opens_twice() -> None:
    night = parse_schedule("* 2 * * *", 1)
    spring, autumn = datetime(2027, 3, 28, tzinfo=UTC), datetime(2027, 10, 31, tzinfo=UTC)
    open_hours = [
        [
            hour
            for hour in range(-1, 4)
            if matches(night, day + timedelta(hours=hour, minutes=30), _BERLIN)
        ]
        for day in (spring, autumn)
    ]
    assert open_hours == [[], [0, 1]]


@pytest.mark.parametrize(
    ("schedules", "expected"),
    [
        ((), 2),
        ((_OFFICE,), 5),
        ((parse_schedule("* 9 * * *", 1), _OFFICE), 5),
        ((parse_schedule("* 8 * * *", 1), _OFFICE), 1),
        ((_OFFICE, parse_schedule("* 8 * * *", 1)), 5),
        ((parse_schedule("* 8 * * *", 0),), 0),
    ],
)
def test_the_first_open_schedule_wins(schedules: tuple[Schedule, ...], expected: int) -> None:
    assert desired_size(schedules, _UTC, 2, datetime(2027, 3, 1, 8, 30, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "UTC ", "a" * 300]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ScheduleInvalid, match="IANA time zone") as caught:
        parse_timezone(name)
    assert caught.value.field == "timezone"


@pytest.mark.parametrize("instances", [-1, 1001])
def test_an_impossible_size_is_refused(instances: int) -> None:
    with pytest.raises(ScheduleInvalid, match=r"instances is .*; allowed is 0 to 1000"):
        parse_schedule("* * * * *", instances)


_ZONES = ["UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"]
_CLOCK_CHANGES = [
    datetime(2027, 3, 28, 1, tzinfo=UTC),  # Berlin, forward
    datetime(2027, 10, 31, 1, tzinfo=UTC),  # Berlin, back
    datetime(2027, 4, 3, 15, tzinfo=UTC),  # Lord Howe, back by half an hour
    datetime(2027, 4, 4, 3, tzinfo=UTC),  # Santiago, back at midnight
    datetime(2027, 9, 5, 4, tzinfo=UTC),  # Santiago, forward at midnight
    datetime(2027, 10, 2, 15, 30, tzinfo=UTC),  # Lord Howe, forward by half an hour
]


@st.composite
def _expressions(draw: st.DrawFn) -> str:
    first = draw(st.integers(0, 23))
    hours = draw(st.sampled_from(["*", f"{first}", f"{first}-{draw(st.integers(first, 23))}"]))
    day, weekday = draw(st.integers(1, 31)), draw(st.integers(0, 6))
    month = draw(st.sampled_from(["*", "3-4", "9-11", "jan,oct"]))
    days, weekdays = draw(
        st.sampled_from([("*", "*"), (str(day), "*"), ("*", str(weekday)), (str(day), "1-5")])
    )
    if month == "3-4" and days == "31":
        days = "30"
    return f"* {hours} {days} {month} {weekdays}"


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(_expressions(), st.integers(1, 9)), max_size=3),
    st.sampled_from(_ZONES),
    st.sampled_from(_CLOCK_CHANGES),
    st.integers(-2 * 24 * 3600, 2 * 24 * 3600),
)
def test_the_size_is_that_of_the_first_expression_which_matches_the_minute_on_the_wall(
    rows: list[tuple[str, int]], zone_name: str, change: datetime, seconds: int
) -> None:
    moment, zone = change + _SECOND * seconds, parse_timezone(zone_name)
    on_the_wall = moment.astimezone(ZoneInfo(zone_name)).replace(tzinfo=None)
    expected = next((size for cron, size in rows if matches_minute(cron, on_the_wall)), 0)
    schedules = [parse_schedule(cron, size) for cron, size in rows]
    assert desired_size(schedules, zone, 0, moment) == expected
