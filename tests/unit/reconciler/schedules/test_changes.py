"""When the size changes, held to a twin that looks at every minute."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.schedules import (
    Schedule,
    desired_size,
    explain_windows,
    next_change_at,
    parse_schedule,
    parse_timezone,
)
from reconciler.core.schedules.changes import iterate_openings
from reconciler.core.schedules.errors import ScheduleInvalid
from reconciler.core.schedules.windows import Window

_MINUTE = timedelta(minutes=1)
_DAYS = 4
_MIDNIGHT_GAP = "America/Santiago"  # its clocks change at midnight
_HALF_HOUR = "Australia/Lord_Howe"  # its clocks change by half an hour
_ZONES = ["UTC", "Europe/Berlin", _MIDNIGHT_GAP, _HALF_HOUR, "Asia/Kathmandu"]
_NEAR_CLOCK_CHANGES = [
    datetime(2027, 3, 27, tzinfo=UTC),  # Berlin, forward
    datetime(2027, 10, 30, tzinfo=UTC),  # Berlin, back
    datetime(2027, 4, 3, tzinfo=UTC),  # Santiago and Lord Howe, back
    datetime(2027, 9, 4, tzinfo=UTC),  # Santiago, forward
    datetime(2027, 10, 2, tzinfo=UTC),  # Lord Howe, forward
]


@st.composite
def _schedules(draw: st.DrawFn) -> Schedule:
    first = draw(st.integers(0, 23))
    hours = draw(st.sampled_from(["*", f"{first}", f"{first}-{draw(st.integers(first, 23))}"]))
    day, weekday = draw(st.integers(1, 31)), draw(st.integers(0, 6))
    dates = draw(st.sampled_from(["* * *", f"{day} * *", f"* * {weekday}", f"{day} * {weekday}"]))
    return parse_schedule(f"* {hours} {dates}", draw(st.integers(0, 2)))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(_schedules(), max_size=3),
    st.sampled_from(_ZONES),
    st.sampled_from(_NEAR_CLOCK_CHANGES),
    st.integers(0, 24 * 60),
)
def test_changes_are_those_a_look_at_every_minute_finds(
    schedules: list[Schedule], zone_name: str, day: datetime, minutes: int
) -> None:
    zone, start = parse_timezone(zone_name), day + _MINUTE * minutes
    end = start + timedelta(days=_DAYS)
    sizes = [
        (start + _MINUTE * minute, desired_size(schedules, zone, 1, start + _MINUTE * minute))
        for minute in range(_DAYS * 24 * 60)
    ]
    expected = next((at for at, size in sizes if size != sizes[0][1]), None)
    found = next_change_at(schedules, zone, 1, start)
    assert (found if found is not None and found < end else None) == expected

    openings = list(iterate_openings(schedules, zone, start, horizon_days=_DAYS))
    at_each = [
        next(opening.schedule for opening in reversed(openings) if opening.at <= at)
        for at, _ in sizes
    ]
    assert [1 if each is None else each.instances for each in at_each] == [s for _, s in sizes]


def test_a_yearly_schedule_is_found_across_the_year() -> None:
    change = next_change_at(
        [parse_schedule("* 9 24 12 *", 7)],
        parse_timezone("Europe/Berlin"),
        1,
        datetime(2027, 1, 5, tzinfo=UTC),
    )
    assert change == datetime(2027, 12, 24, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "schedules", [[], [parse_schedule("* * * * *", 3)], [parse_schedule("* 8 * * *", 1)]]
)
def test_a_size_that_never_changes_has_no_next_change(schedules: list[Schedule]) -> None:
    assert (
        next_change_at(schedules, parse_timezone(""), 1, datetime(2027, 1, 5, tzinfo=UTC)) is None
    )


def test_openings_begin_with_what_is_open_now() -> None:
    schedule = parse_schedule("* 8-9 * * *", 3)
    start = datetime(2027, 1, 5, 9, 30, 7, tzinfo=UTC)
    openings = islice(iterate_openings([schedule], parse_timezone(""), start), 3)
    assert [(opening.at, opening.schedule) for opening in openings] == [
        (start, schedule),
        (datetime(2027, 1, 5, 10, tzinfo=UTC), None),
        (datetime(2027, 1, 6, 8, tzinfo=UTC), schedule),
    ]


def test_windows_are_explained_with_what_the_clocks_do() -> None:
    windows = explain_windows(
        [parse_schedule("* 2 * * 0", 4)],
        parse_timezone("Europe/Berlin"),
        1,
        datetime(2027, 3, 27, tzinfo=UTC),
        2,
    )
    assert windows == (
        Window(
            starts_at=datetime(2027, 3, 27, tzinfo=UTC),
            ends_at=datetime(2027, 4, 4, 0, tzinfo=UTC),
            instances=1,
            cron="",
            note=(
                "On 2027-03-28 the clocks go forward from 02:00 to 03:00."
                ' "* 2 * * 0" covers 02:00, which does not happen that day.'
            ),
        ),
        Window(
            starts_at=datetime(2027, 4, 4, 0, tzinfo=UTC),
            ends_at=datetime(2027, 4, 4, 1, tzinfo=UTC),
            instances=4,
            cron="* 2 * * 0",
            note="",
        ),
    )


def test_a_window_that_is_repeated_is_twice_as_long_and_says_so() -> None:
    (_, window) = explain_windows(
        [parse_schedule("* 2 31 10 *", 4)],
        parse_timezone("Europe/Berlin"),
        1,
        datetime(2027, 10, 30, tzinfo=UTC),
        2,
    )
    assert window == Window(
        starts_at=datetime(2027, 10, 31, 0, tzinfo=UTC),
        ends_at=datetime(2027, 10, 31, 2, tzinfo=UTC),
        instances=4,
        cron="* 2 31 10 *",
        note=("On 2027-10-31 the clocks go back from 03:00 to 02:00, so those hours happen twice."),
    )


def test_a_window_without_end_says_so() -> None:
    start = datetime(2027, 3, 27, tzinfo=UTC)
    assert explain_windows([], parse_timezone(""), 6, start, 5) == (
        Window(
            starts_at=start,
            ends_at=None,
            instances=6,
            cron="",
            note="Nothing changes within 400 days.",
        ),
    )


@pytest.mark.parametrize("count", [0, 51])
def test_the_number_of_windows_is_bounded(count: int) -> None:
    with pytest.raises(ScheduleInvalid, match="allowed is 1 to 50"):
        explain_windows([], parse_timezone(""), 1, datetime(2027, 3, 27, tzinfo=UTC), count)
