"""One preset's part of a snapshot, and what follows from it.

Promise: a state is cheap to make, so that a preset with nothing to do costs next to nothing; the
census is taken once, when the first decision asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from reconciler.core.pools.census import Census, take_census
from reconciler.core.pools.losses import count_waves
from reconciler.core.pools.settings import PoolSettings
from reconciler.core.pools.snapshot import (
    BuildHistory,
    CountedMembers,
    Loss,
    MemberRow,
    PresetRow,
    ScheduleRow,
)
from reconciler.core.pools.standing import is_proven
from reconciler.core.schedules.errors import ScheduleInvalid
from reconciler.core.schedules.schedule import (
    Schedule,
    desired_size,
    parse_schedule,
    parse_timezone,
)

__all__ = [
    "PresetState",
    "Timetable",
    "find_desired",
    "read_timetable",
]

_TIMETABLES_MAX: Final = 16_384  # sets of schedules, a kilobyte or so each


@dataclass(frozen=True, kw_only=True)
class PresetState:
    """A preset, its members in any order, those that were only counted, and how its creations
    went.
    """

    preset: PresetRow
    members: tuple[MemberRow, ...]
    history: BuildHistory
    now: datetime
    settings: PoolSettings
    hearing_since: datetime | None = None
    counted: tuple[CountedMembers, ...] = ()

    @cached_property
    def census(self) -> Census:
        """The members by what can be done with them."""
        return take_census(
            self.members,
            self.counted,
            self.preset,
            self.desired,
            self.now,
            self.settings,
            self.hearing_since,
        )

    @cached_property
    def desired(self) -> int:
        """How many members there should be now; none of a preset that is not active."""
        return find_desired(self.preset, self.now)

    @property
    def schedule_error(self) -> str:
        """What is wrong with the schedules, so that the default holds; empty if nothing is."""
        schedules = self.preset.schedules
        return read_timetable(schedules, self.preset.timezone).error if schedules else ""

    @property
    def excess(self) -> int:
        """How many more than desired are there or on their way."""
        return max(0, self.census.supply_count - self.desired)

    @property
    def surplus(self) -> int:
        """How many started members are too many. What waits can be cancelled instead; what is being
        built cannot, but nothing ready is given up for a promise.
        """
        started = max(0, self.census.running_count - self.desired)
        return min(max(0, self.excess - len(self.census.pending)), started)

    @property
    def unnamed_deletion_count(self) -> int:
        """How many members are to go that were only counted: they are named in a later pass."""
        named = len(self.census.unready) + len(self.census.ready)
        return self.census.lapsed_counted + max(0, self.surplus - named)

    @property
    def missing(self) -> int:
        """How many fewer than desired are there or on their way."""
        return max(0, self.desired - self.census.supply_count)

    @cached_property
    def losses(self) -> tuple[Loss, ...]:
        """Members that were lost young since somebody resumed the pool, and those this pass gives
        up, who may be claimed before they are.
        """
        lookback = self.settings.failure_lookback_seconds
        now = (
            Loss(created_at=member.created_at, lost_at=self.now)
            for member in self.census.lost
            if not is_proven(member, lookback)
        )
        return self._since_resumed((*self.history.losses, *now))

    @property
    def consecutive_loss_count(self) -> int:
        """Waves of losses that happened since a member last proved that members live."""
        return self._count_in_a_row(self._since_resumed(self.history.losses))

    @property
    def impending_loss_count(self) -> int:
        """The same if what this pass gives up is lost indeed."""
        return self._count_in_a_row(self.losses)

    def _since_resumed(self, losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
        resumed_at = self.preset.resumed_at
        return tuple(each for each in losses if resumed_at is None or each.lost_at > resumed_at)

    def _count_in_a_row(self, losses: tuple[Loss, ...]) -> int:
        proven_at = self.history.last_proven_at
        return count_waves(loss for loss in losses if proven_at is None or loss.lost_at > proven_at)

    @property
    def setback_count(self) -> int:
        """How many intervals creation waits: one for each recent failure, and one for each recent
        wave of losses after the first, which may be a misfortune and is made good at once.
        """
        return self._recent_failure_count + self._repeated_loss_count

    @property
    def backoff_until(self) -> datetime | None:
        """Until when creation waits after failures and losses; None if it does not. Somebody who
        resumed the pool has seen those before, so only later ones count.
        """
        count, moments = self.setback_count, list[datetime]()
        if self._recent_failure_count and self.history.last_failed_at is not None:
            moments.append(self.history.last_failed_at)
        if self._repeated_loss_count:
            moments.append(max(loss.lost_at for loss in self.losses))
        if not moments:
            return None
        until = max(moments) + timedelta(seconds=self.settings.backoff_interval_seconds * count)
        return until if until > self.now else None

    @property
    def _recent_failure_count(self) -> int:
        failed_at, resumed_at = self.history.last_failed_at, self.preset.resumed_at
        if failed_at is None or (resumed_at is not None and failed_at <= resumed_at):
            return 0
        return max(0, self.history.recent_failure_count)

    @property
    def _repeated_loss_count(self) -> int:
        if not self.history.losses:
            return 0  # what is lost in this pass is one wave at most
        since = self.now - timedelta(seconds=self.settings.failure_lookback_seconds)
        return max(0, count_waves(loss for loss in self.losses if loss.lost_at > since) - 1)


def find_desired(preset: PresetRow, now: datetime) -> int:
    """How many members a preset should have; none if it is not active."""
    if not preset.is_active:
        return 0
    if not preset.schedules:
        return preset.instances
    table = read_timetable(preset.schedules, preset.timezone)
    if table.zone is None:
        return preset.instances
    return desired_size(table.schedules, table.zone, preset.instances, now)


@dataclass(frozen=True, slots=True)
class Timetable:
    """Schedules as they were read; without a zone, the error says why they could not be."""

    schedules: tuple[Schedule, ...]
    zone: ZoneInfo | None
    error: str = ""


@lru_cache(maxsize=_TIMETABLES_MAX)
def read_timetable(rows: tuple[ScheduleRow, ...], timezone: str) -> Timetable:
    """Reads the schedules of a preset, once for all presets that have the same."""
    try:
        zone = parse_timezone(timezone)
        schedules = tuple(parse_schedule(row.cron, row.instances) for row in rows)
    except ScheduleInvalid as error:
        return Timetable((), None, str(error))
    return Timetable(schedules, zone)
