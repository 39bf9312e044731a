"""Starts come when a clock on the wall of the workspace's time zone says so, once each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lifecycle import next_start, parse_autostart
from svckit.errors import InvalidArgument

BERLIN = "Europe/Berlin"
ZONES = ("", "UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


def starts(cron: str, zone: str, after: str, count: int) -> list[str]:
    autostart = parse_autostart(cron, zone)
    at: datetime | None = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found: list[str] = []
    for _ in range(count):
        assert at is not None
        at = next_start(autostart, at)
        assert at is not None
        found.append(at.strftime("%m-%d %H:%M"))
    return found


def test_weekdays_in_a_zone_follow_its_clocks() -> None:
    found = starts("30 8 * * 1-5", BERLIN, "2030-03-28T12:00", 3)
    # Friday in winter time; after the weekend of the change, Monday is an hour earlier in UTC.
    assert found == ["03-29 07:30", "04-01 06:30", "04-02 06:30"]


def test_a_time_the_clocks_skip_comes_as_much_later() -> None:
    # On 31 March 2030, 02:00 in Berlin is 03:00 at once: 02:30 is 03:30 there, 01:30 UTC.
    assert starts("30 2 * * *", BERLIN, "2030-03-30T12:00", 2) == ["03-31 01:30", "04-01 00:30"]


def test_a_time_the_clocks_repeat_comes_once() -> None:
    assert starts("30 2 * * *", BERLIN, "2030-10-26T12:00", 2) == ["10-27 00:30", "10-28 01:30"]


def test_the_next_start_is_never_the_present_moment() -> None:
    assert starts("0 * * * *", "", "2030-01-01T08:00", 2) == ["01-01 09:00", "01-01 10:00"]
    assert starts("*/20 8 * * *", "", "2030-01-01T07:59", 4) == [
        "01-01 08:00",
        "01-01 08:20",
        "01-01 08:40",
        "01-02 08:00",
    ]


def test_the_rarest_date_comes() -> None:
    autostart = parse_autostart("0 0 29 2 *", "")
    assert next_start(autostart, datetime(2096, 3, 1, tzinfo=UTC)) == datetime(
        2104, 2, 29, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("cron", "zone", "field"),
    [
        ("", "", "autostart_cron"),
        ("60 8 * * *", "", "autostart_cron"),
        ("0 24 * * *", "", "autostart_cron"),
        ("0 8 31 2 *", "", "autostart_cron"),
        ("0 8 * *", "", "autostart_cron"),
        ("0 0 8 * * *", "", "autostart_cron"),
        ("@daily", "", "autostart_cron"),
        ("R 8 * * *", "", "autostart_cron"),
        ("0 8 * * L", "", "autostart_cron"),
        ("0 8 * * *", "Mars/Olympus", "autostart_timezone"),
        ("0 8 * * *", "../etc/passwd", "autostart_timezone"),
    ],
)
def test_what_is_no_autostart_is_refused_by_its_field(cron: str, zone: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_autostart(cron, zone)
    assert (raised.value.field, raised.value.reason) == (field, "AUTOSTART_INVALID")
    assert "allowed is" in raised.value.message


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    step=st.sampled_from(["", "/7", "/30"]),
    weekday=st.sampled_from(["*", "0", "1-5"]),
    zone=st.sampled_from(ZONES),
    minutes_on=st.integers(0, 366 * 1440),
)
def test_no_matching_minute_is_passed_over(
    minute: int, hour: int, step: str, weekday: str, zone: str, minutes_on: int
) -> None:
    """Compared with walking through time minute by minute, which cannot see a skipped time."""
    autostart = parse_autostart(
        f"{minute}-59{step} {hour} * * {weekday}" if step else f"{minute} {hour} * * {weekday}",
        zone,
    )
    begin = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes_on)
    found = next_start(autostart, begin)
    assert found is not None
    assert found > begin
    at = begin.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while at < found:
        local = at.astimezone(autostart.zone)
        is_match = (
            local.fold == 0
            and autostart.mask.minutes >> local.minute & 1
            and autostart.mask.hours.matches(local)
        )
        assert not is_match, at
        at += timedelta(minutes=1)
    shown = found.astimezone(autostart.zone)
    is_shown = autostart.mask.minutes >> shown.minute & 1 and autostart.mask.hours.matches(shown)
    assert is_shown or _is_just_after_a_gap(shown)


def _is_just_after_a_gap(shown: datetime) -> bool:
    before = (shown.astimezone(UTC) - timedelta(hours=1)).astimezone(shown.tzinfo)
    return before.utcoffset() != shown.utcoffset()
