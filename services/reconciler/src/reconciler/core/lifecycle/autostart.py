"""When a workspace starts by itself.

Promises: the times are those a clock on the wall of the workspace's time zone shows. A time the
clocks repeat comes once, the first time; a time they skip comes as much later as they skip. The
search is bounded: it ends after the rarest date, the 29th of February, has come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from reconciler.core.schedules import ScheduleInvalid, TimedMask, parse_timed_cron, parse_timezone
from svckit.errors import InvalidArgument

__all__ = ["Autostart", "next_start", "parse_autostart"]

_HORIZON_DAYS = 9 * 366  # 2096 is followed by 2104
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Autostart:
    """A cron expression with minutes, and where its clock hangs."""

    mask: TimedMask
    zone: ZoneInfo


def parse_autostart(cron: str, timezone: str) -> Autostart:
    """Reads `MINUTE HOURS DOM MONTHS DOW` and an IANA time zone, empty for UTC. Raises
    InvalidArgument.
    """
    try:
        return Autostart(parse_timed_cron(cron), parse_timezone(timezone))
    except ScheduleInvalid as error:
        field = "autostart_timezone" if error.field == "timezone" else "autostart_cron"
        raise InvalidArgument(
            f"{field}: {error}", reason="AUTOSTART_INVALID", field=field
        ) from error


def next_start(autostart: Autostart, after: datetime) -> datetime | None:
    """The first start after a moment, in UTC; None if no date of the expression is near."""
    today = after.astimezone(autostart.zone).date()
    # The clocks may move a time to the next day, so the day before may still have one to come.
    for offset in range(-1, _HORIZON_DAYS):
        day = today + offset * _DAY
        if autostart.mask.hours.matches_date(day):
            starts = [start for start in _starts_of(autostart, day) if start > after]
            if starts:
                return min(starts)
    return None


def _starts_of(autostart: Autostart, day: date) -> Iterator[datetime]:
    mask = autostart.mask
    minutes = [minute for minute in range(60) if mask.minutes >> minute & 1]
    for hour in range(24):
        if mask.hours.hours >> hour & 1:
            for minute in minutes:
                # Without a fold, zoneinfo reads a repeated time as its first and a skipped one with
                # the offset from before.
                local = datetime.combine(day, time(hour, minute), autostart.zone)
                yield local.astimezone(UTC)
