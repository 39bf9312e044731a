"""When the open schedule changes: the one walk through time that the rest of the room shares.

Promises: exact to the second, in UTC, across changes of the clocks. A change of the open schedule
can only happen when a local hour begins or when the clocks change, so the walk goes from one such
moment to the next, and it jumps over dates on which nothing can change. It never goes past its
horizon, so it is bounded whatever the expressions say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from reconciler.core.schedules.schedule import Schedule, find_open

__all__ = [
    "HORIZON_DAYS",
    "ClockChange",
    "Opening",
    "iterate_clock_changes",
    "iterate_openings",
    "next_change_at",
]

HORIZON_DAYS = 400  # every yearly date comes up, the 29th of February aside
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_NEAR_MIDNIGHT = timedelta(hours=3)  # no zone changes its clocks by more around midnight
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Opening:
    """From `at` on, `schedule` is the open one; None means the default holds."""

    at: datetime
    schedule: Schedule | None


@dataclass(frozen=True, slots=True)
class ClockChange:
    """At `at`, clocks that would show `before` show `after`; both without a zone."""

    at: datetime
    before: datetime
    after: datetime


def next_change_at(
    schedules: Sequence[Schedule],
    zone: ZoneInfo,
    default: int,
    now: datetime,
    *,
    horizon_days: int = HORIZON_DAYS,
) -> datetime | None:
    """When the desired size changes next; None if it does not within the horizon."""
    sizes = {default, *(schedule.instances for schedule in schedules)}
    if len(sizes) == 1:
        return None
    openings = iterate_openings(schedules, zone, now, horizon_days=horizon_days)
    size = _size(next(openings), default)
    return next((each.at for each in openings if _size(each, default) != size), None)


def iterate_openings(
    schedules: Sequence[Schedule],
    zone: ZoneInfo,
    start: datetime,
    *,
    horizon_days: int = HORIZON_DAYS,
) -> Iterator[Opening]:
    """What is open at the start, then each change of it within the horizon."""
    at = start.astimezone(UTC)
    end = at + _DAY * horizon_days
    local = at.astimezone(zone)
    current = find_open(schedules, local)
    yield Opening(at, current)
    constants: dict[date, bool] = {}
    while True:
        today = local.date()
        if today not in constants:
            constants = {today: _is_constant(schedules, local, current)}
        following = _next_moment(at, local, zone, is_day_constant=constants[today])
        if following > end:
            return
        at, local = following, following.astimezone(zone)
        winner = find_open(schedules, local)
        if winner is not current:
            current = winner
            constants = {}
            yield Opening(at, current)


def iterate_clock_changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[ClockChange]:
    """Each change of the clocks after the start and up to the end. Two within a day that cancel
    each other out would be missed; no zone has them.
    """
    at = start.astimezone(UTC)
    while at < end:
        following = min(at + _DAY, end.astimezone(UTC))
        changed_at = _find_clock_change(at, following, zone)
        if changed_at is not None:
            offset = (changed_at - _SECOND).astimezone(zone).utcoffset() or timedelta()
            yield ClockChange(
                at=changed_at,
                before=(changed_at + offset).replace(tzinfo=None),
                after=changed_at.astimezone(zone).replace(tzinfo=None),
            )
        at = following


def _size(opening: Opening, default: int) -> int:
    return default if opening.schedule is None else opening.schedule.instances


def _is_constant(schedules: Sequence[Schedule], day: datetime, current: Schedule | None) -> bool:
    covering = [schedule.mask.hours for schedule in schedules if schedule.mask.matches_date(day)]
    if current is None:
        return not covering
    first = next(schedule for schedule in schedules if schedule.mask.matches_date(day))
    return first is current and first.mask.hours == 0xFFFFFF


def _next_moment(
    at: datetime, local: datetime, zone: ZoneInfo, *, is_day_constant: bool
) -> datetime:
    if is_day_constant:
        midnight = datetime.combine(local.date() + _DAY, time(), zone).astimezone(UTC)
        if midnight - _NEAR_MIDNIGHT > at:
            return midnight - _NEAR_MIDNIGHT
    into_hour = timedelta(
        minutes=local.minute, seconds=local.second, microseconds=local.microsecond
    )
    following = at + _HOUR - into_hour
    return _find_clock_change(at, following, zone) or following


def _find_clock_change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime | None:
    """The first whole second after `low` at which the offset is the one `high` has, or None if
    both have the same.
    """
    offset = high.astimezone(zone).utcoffset()
    if low.astimezone(zone).utcoffset() == offset:
        return None
    low = low.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high
