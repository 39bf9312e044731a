"""Which of a preset's schedules is open at a moment, and so how many prebuilds it asks for.

Promises: the first schedule that matches wins; none means the default. A moment is compared with
the cron expression as a clock on the wall of the preset's time zone shows it: an hour that the
clocks skip never opens a schedule, an hour that they repeat keeps it open twice as long.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from reconciler.core.schedules.cron import CronMask, parse_cron
from reconciler.core.schedules.errors import ScheduleInvalid, quote

__all__ = ["Schedule", "desired_size", "find_open", "matches", "parse_schedule", "parse_timezone"]

INSTANCES_MAX = 1000
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A window and the size of the pool while it is open."""

    cron: str
    instances: int
    mask: CronMask


def parse_schedule(cron: str, instances: int) -> Schedule:
    """Reads one schedule. Raises ScheduleInvalid."""
    if not 0 <= instances <= INSTANCES_MAX:
        raise ScheduleInvalid("instances", f"is {instances}", f"0 to {INSTANCES_MAX}")
    return Schedule(cron, instances, parse_cron(cron))


def parse_timezone(name: str) -> ZoneInfo:
    """The IANA time zone of that name; an empty name is UTC. Raises ScheduleInvalid."""
    try:
        if name and not _ZONE.fullmatch(name):
            raise ValueError(name)
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, LookupError) as error:
        raise ScheduleInvalid(
            "timezone", f"is {quote(name)}", 'an IANA time zone, such as "Europe/Paris" or "UTC"'
        ) from error


def matches(schedule: Schedule, instant: datetime, zone: ZoneInfo) -> bool:
    """Whether a schedule is open at an instant."""
    return schedule.mask.matches(instant.astimezone(zone))


def find_open(schedules: Sequence[Schedule], local: datetime) -> Schedule | None:
    """The first schedule that a local time is inside of."""
    for schedule in schedules:
        if schedule.mask.matches(local):
            return schedule
    return None


def desired_size(
    schedules: Sequence[Schedule], zone: ZoneInfo, default: int, instant: datetime
) -> int:
    """How many prebuilds there should be at an instant."""
    if not schedules:
        return default
    winner = find_open(schedules, instant.astimezone(zone))
    return default if winner is None else winner.instances
