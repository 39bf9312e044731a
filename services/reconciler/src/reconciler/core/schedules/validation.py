"""Whether a preset's schedules can be used at all, asked when they are imported.

Promises: a set that passes has a known time zone and readable expressions, and no moment has two
answers; a set that does not is refused with the field, what is wrong and what is allowed. The
overlap of two schedules is decided on their masks, over every date that can exist, and shown by a
concrete date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import combinations
from zoneinfo import ZoneInfo

from reconciler.core.schedules.cron import CronMask
from reconciler.core.schedules.errors import ScheduleInvalid, quote
from reconciler.core.schedules.schedule import Schedule, parse_schedule, parse_timezone

__all__ = ["Clash", "find_clash", "validate_schedules"]

SCHEDULES_MAX = 50  # pairs are compared, and people have to read them
_DAYS_SEARCHED = 366 * 41  # 29 February falls on every weekday within 40 years
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


@dataclass(frozen=True, slots=True)
class Clash:
    """Two schedules that are both open on a date, throughout an hour of it."""

    first: Schedule
    second: Schedule
    day: date
    hour: int

    def __str__(self) -> str:
        weekday = _WEEKDAYS[self.day.isoweekday() % 7]
        return (
            f"{quote(self.first.cron)} and {quote(self.second.cron)} are both open"
            f" on {weekday} {self.day.isoformat()} at {self.hour:02}:00"
        )


def validate_schedules(
    schedules: Sequence[tuple[str, int]], timezone: str, now: datetime
) -> tuple[tuple[Schedule, ...], ZoneInfo]:
    """Reads expressions with their sizes and a time zone. Raises ScheduleInvalid."""
    if len(schedules) > SCHEDULES_MAX:
        raise ScheduleInvalid(
            "schedules", f"has {len(schedules)} entries", f"at most {SCHEDULES_MAX}"
        )
    zone = parse_timezone(timezone)
    parsed: list[Schedule] = []
    for index, (cron, instances) in enumerate(schedules):
        try:
            parsed.append(parse_schedule(cron, instances))
        except ScheduleInvalid as error:
            field = f"schedules.{index}.{error.field}"
            raise ScheduleInvalid(field, error.what, error.allowed) from error
    clash = find_clash(parsed, now.astimezone(zone).date())
    if clash is not None:
        raise ScheduleInvalid(
            "schedules", f"overlap: {clash}", "at most one open schedule at any moment"
        )
    return tuple(parsed), zone


def find_clash(schedules: Sequence[Schedule], start: date) -> Clash | None:
    """The first pair that overlaps, and the first date from the start on that shows it."""
    for first, second in combinations(schedules, 2):
        clash = _find_pair_clash(first, second, start)
        if clash is not None:
            return clash
    return None


def _find_pair_clash(first: Schedule, second: Schedule, start: date) -> Clash | None:
    hours = first.mask.hours & second.mask.hours
    if not hours or not _is_date_shared(first.mask, second.mask):
        return None
    hour = (hours & -hours).bit_length() - 1
    for offset in range(_DAYS_SEARCHED):
        day = start + timedelta(days=offset)
        if first.mask.matches_date(day) and second.mask.matches_date(day):
            return Clash(first, second, day, hour)
    return None


def _is_date_shared(first: CronMask, second: CronMask) -> bool:
    """Quick no: most pairs are apart by month or by weekday, whatever the year."""
    return any(
        first.months & second.months & 1 << month
        and first.matches_day(day, weekday)
        and second.matches_day(day, weekday)
        for month in range(1, 13)
        for day in range(1, 32)
        for weekday in range(7)
    )
