"""When a pool should have which size."""

from __future__ import annotations

from reconciler.core.schedules.changes import next_change_at
from reconciler.core.schedules.cron import TimedMask, parse_timed_cron
from reconciler.core.schedules.errors import ScheduleInvalid
from reconciler.core.schedules.schedule import (
    Schedule,
    desired_size,
    matches,
    parse_schedule,
    parse_timezone,
)
from reconciler.core.schedules.validation import validate_schedules
from reconciler.core.schedules.windows import Window, explain_windows

__all__ = [
    "Schedule",
    "ScheduleInvalid",
    "TimedMask",
    "Window",
    "desired_size",
    "explain_windows",
    "matches",
    "next_change_at",
    "parse_schedule",
    "parse_timed_cron",
    "parse_timezone",
    "validate_schedules",
]
