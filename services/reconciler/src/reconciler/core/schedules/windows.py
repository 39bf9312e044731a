"""Schedules explained to people: which windows they open next, and what the clocks do to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.core.schedules.changes import (
    HORIZON_DAYS,
    ClockChange,
    Opening,
    iterate_clock_changes,
    iterate_openings,
)
from reconciler.core.schedules.errors import ScheduleInvalid
from reconciler.core.schedules.schedule import Schedule

__all__ = ["WINDOWS_MAX", "Window", "explain_windows"]

WINDOWS_MAX = 50
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One stretch of time with one open schedule, in UTC. `ends_at` is exclusive, and None if
    nothing changes within HORIZON_DAYS. `cron` is empty while the default holds. `note` says what a
    reader should know; mostly it is empty.
    """

    starts_at: datetime
    ends_at: datetime | None
    instances: int
    cron: str
    note: str


def explain_windows(
    schedules: Sequence[Schedule], zone: ZoneInfo, default: int, now: datetime, count: int
) -> tuple[Window, ...]:
    """The next windows; the first is the one that is open now, as of now. Raises ScheduleInvalid
    for a count that is not 1 to WINDOWS_MAX.
    """
    if not 1 <= count <= WINDOWS_MAX:
        raise ScheduleInvalid("windows", f"is {count}", f"1 to {WINDOWS_MAX}")
    windows: list[Window] = []
    openings = iterate_openings(schedules, zone, now)
    opening = next(openings, None)
    while opening is not None and len(windows) < count:
        following = next(openings, None)
        ends_at = None if following is None else following.at
        windows.append(
            Window(
                starts_at=opening.at,
                ends_at=ends_at,
                instances=default if opening.schedule is None else opening.schedule.instances,
                cron="" if opening.schedule is None else opening.schedule.cron,
                note=" ".join(_notes(opening, ends_at, schedules, zone)),
            )
        )
        opening = following
    return tuple(windows)


def _notes(
    opening: Opening, ends_at: datetime | None, schedules: Sequence[Schedule], zone: ZoneInfo
) -> Iterator[str]:
    if ends_at is None:
        yield f"Nothing changes within {HORIZON_DAYS} days."
        return
    second = timedelta(seconds=1)  # a change that ends a window or begins one belongs to both
    for change in iterate_clock_changes(zone, opening.at - second, ends_at):
        yield f"On {change.before:%Y-%m-%d} {_describe(change)}."
        if change.after > change.before:
            yield from _describe_skipped(change, schedules)


def _describe(change: ClockChange) -> str:
    before, after = f"{change.before:%H:%M}", f"{change.after:%H:%M}"
    if change.after > change.before:
        return f"the clocks go forward from {before} to {after}"
    return f"the clocks go back from {before} to {after}, so those hours happen twice"


def _describe_skipped(change: ClockChange, schedules: Sequence[Schedule]) -> Iterator[str]:
    """Which schedules would have been open in the hours that do not happen."""
    for schedule in schedules:
        hour = change.before.replace(minute=0, second=0)
        while hour < change.after:
            is_whole = hour >= change.before and hour + _HOUR <= change.after
            if is_whole and schedule.mask.matches(hour):
                yield f'"{schedule.cron}" covers {hour:%H:%M}, which does not happen that day.'
                break
            hour += _HOUR
