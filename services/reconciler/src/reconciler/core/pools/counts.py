"""The numbers of one pool, for metrics and listings. They are those the plan was made of."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.pools.state import PresetState

__all__ = ["PoolCounts", "count_pool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounts:
    """How many members there are of each sort.

    `running` have a succeeded start build, whatever their age and agents; of these `eligible` can
    be claimed now and `expired` may not be any more (expired, invalidated or outdated).
    `deleting` includes deletions that failed and are tried again, which `delete_failed` counts.
    `failed` includes the one that is kept for debugging and those that halted.
    """

    desired: int = 0
    running: int = 0
    eligible: int = 0
    starting: int = 0
    stopping: int = 0
    deleting: int = 0
    delete_failed: int = 0
    failed: int = 0
    expired: int = 0


def count_pool(state: PresetState) -> PoolCounts:
    """Counts one preset's members."""
    if not (state.members or state.counted):
        return PoolCounts(desired=state.desired)
    census = state.census
    lapsed = sum(1 for member, _ in census.lapsed if member.started_at is not None)
    expired = lapsed + census.lapsed_counted
    return PoolCounts(
        desired=state.desired,
        running=census.running_count + len(census.never_ready) + len(census.lost) + expired,
        eligible=census.ready_count,
        starting=len(census.pending)
        + len(census.pending_lapsed)
        + len(census.building)
        + len(census.building_lapsed),
        stopping=len(census.stopping),
        deleting=len(census.deleting) + len(census.delete_failed),
        delete_failed=len(census.delete_failed),
        failed=len(census.failed) + len(census.halted) + len(census.lapsed) - lapsed,
        expired=expired,
    )
