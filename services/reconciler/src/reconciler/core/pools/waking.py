"""When a pool needs the next look though nobody says so: a schedule, a wait, an age.

Promises: no moment at which a plan would change by time alone is missed by more than
`LOOK_AGAIN_WITHIN`, as long as whoever looks does so at least that often; moments in the past are
never named, so nobody looks in a hurry.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from reconciler.core.pools.snapshot import PresetRow
from reconciler.core.pools.standing import find_lapse, lost_after
from reconciler.core.pools.state import PresetState, read_timetable
from reconciler.core.pools.strategies.undeleted import deletion_due_at
from reconciler.core.schedules.schedule import desired_size

__all__ = ["LOOK_AGAIN_WITHIN", "find_expiry", "find_schedule_change", "find_wake", "wait_seconds"]

LOOK_AGAIN_WITHIN: Final = timedelta(hours=1)
"""Schedules open and close with local hours, so one boundary ahead is enough for an hour."""

_JUST_AFTER = timedelta(milliseconds=1)


def wait_seconds(look_again_at: datetime | None, now: datetime, tick_seconds: float) -> float:
    """How long to wait for a hint: the tick, or less if something falls due before it."""
    wait = min(tick_seconds, LOOK_AGAIN_WITHIN.total_seconds())
    if look_again_at is None:
        return wait
    return max(0.0, min(wait, (look_again_at - now).total_seconds()))


def find_wake(state: PresetState) -> datetime | None:
    """When time alone may change what is to be done for a preset; None if it will not."""
    moments = (moment for moment in _moments(state) if moment > state.now)
    return min(moments, default=None)


def find_schedule_change(preset: PresetRow, now: datetime) -> datetime | None:
    """When within the hour the desired size changes; None if it does not."""
    if not preset.schedules or not preset.is_active:
        return None
    table = read_timetable(preset.schedules, preset.timezone)
    if table.zone is None:
        return None
    at = _next_hour(now, table.zone)
    size = desired_size(table.schedules, table.zone, preset.instances, now)
    return at if desired_size(table.schedules, table.zone, preset.instances, at) != size else None


def find_expiry(preset: PresetRow, created_at: datetime) -> datetime | None:
    """The first moment at which a member of that age has expired; None if it never does."""
    if preset.ttl_seconds <= 0:
        return None
    return created_at + timedelta(seconds=preset.ttl_seconds) + _JUST_AFTER


def _moments(state: PresetState) -> Iterator[datetime]:
    preset, census, settings, now = state.preset, state.census, state.settings, state.now
    if changes_at := find_schedule_change(preset, now):
        yield changes_at
    if state.missing and (until := state.backoff_until):
        yield until
    kept = (*census.pending, *census.building, *census.ready, *census.unready, *census.failed)
    oldest = [*kept, *(g.oldest for g in state.counted if not find_lapse(g.oldest, preset, now))]
    if oldest and (expires_at := find_expiry(preset, min(m.created_at for m in oldest))):
        yield expires_at
    patience = timedelta(seconds=settings.never_ready_timeout_seconds) + _JUST_AFTER
    for member in census.unready:
        if member.started_at is not None and member.first_ready_at is None:
            yield member.started_at + patience
        lost_at = lost_after(member, state.hearing_since, settings.lost_timeout_seconds)
        if lost_at is not None:
            yield lost_at + _JUST_AFTER
    for member in census.delete_failed:
        if due_at := deletion_due_at(member, settings):
            yield due_at


@lru_cache(maxsize=1024)
def _next_hour(now: datetime, zone: ZoneInfo) -> datetime:
    local = now.astimezone(zone)
    into_hour = timedelta(
        minutes=local.minute, seconds=local.second, microseconds=local.microsecond
    )
    return now + timedelta(hours=1) - into_hour
