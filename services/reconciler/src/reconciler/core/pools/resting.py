"""Pools that need no look, told by three numbers each, and how close a look the others need.

An installation's many pools are at their desired size most of the time. For those the database
counts, so that their members never travel. Of the others are read row by row: members that are not
ready, and of those that are as many as a plan may name; the rest of these are counted.

Promise: a pool that is said to rest is one for which a plan of all its rows would have no action.
The reverse need not hold: what is odd in any way is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reconciler.core.pools.snapshot import BuildHistory, PoolHealth, PresetRow
from reconciler.core.pools.state import find_desired

__all__ = ["MemberTotals", "count_nameable", "is_resting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTotals:
    """What the database counted for one preset.

    `plain` members are those nothing can be said against: the latest build is a succeeded start of
    the preset's own version, every agent is ready and connected, nobody invalidated it.
    `oldest_created_at` is of any member. `preset_id` is None for members whose preset is gone.
    """

    preset_id: UUID | None
    total: int = 0
    plain: int = 0
    oldest_created_at: datetime | None = None


def is_resting(
    preset: PresetRow,
    totals: MemberTotals | None,
    history: BuildHistory | None,
    now: datetime,
) -> bool:
    """Whether a preset's members are exactly those it wants, and nothing else is to be decided."""
    total = 0 if totals is None else totals.total
    if history is not None and (
        history.recent_failure_count or history.consecutive_failure_count or history.losses
    ):
        return False
    if not preset.is_active:
        return total == 0
    if preset.health is not PoolHealth.HEALTHY or preset.paused:
        return False
    if totals is not None:
        oldest = totals.oldest_created_at
        if totals.plain != total or (preset.last_invalidated_at is not None and total):
            return False
        if preset.ttl_seconds and oldest and (now - oldest).total_seconds() > preset.ttl_seconds:
            return False
    return total == find_desired(preset, now)


def count_nameable(
    preset: PresetRow, totals: MemberTotals | None, now: datetime, deletions_max: int
) -> int:
    """How many ready members nothing is to be said against a plan may name: those that are more
    than desired, if all the others are there as well. A plan of at most `deletions_max` deletions
    names the oldest of them, so these are all it must know one by one.
    """
    total = 0 if totals is None else totals.total
    return min(deletions_max, max(0, total - find_desired(preset, now)))
