"""Whether a member may be claimed, and why a request found none.

Promises: the same rule as the query that claims, stated in one place: latest build a succeeded
start on the active version, every agent ready and connected, not expired, not invalidated. A pause
stops the pool, not its customers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from reconciler.core.pools.snapshot import MemberRow, PoolHealth, PresetRow
from reconciler.core.pools.standing import Standing, find_lapse, find_standing

__all__ = ["PoolMiss", "explain_pool_miss", "is_eligible", "keeps_pool"]


class PoolMiss(Enum):
    """Why a request was not served from a pool."""

    NO_POOL = "no_pool"
    """No preset matches, or the preset keeps no pool."""
    EMPTY = "empty"
    """The pool has no member that anybody can have now."""
    STARTING = "starting"
    """Members are being built."""
    UNHEALTHY = "unhealthy"
    """Members run, but their agents are not ready or not connected."""
    PARAMETERS = "parameters"
    """A given parameter differs from one that the prebuild fixed for ever."""
    PAUSED = "paused"
    """The pool is paused and empty."""
    HARD_LIMITED = "hard_limited"
    """The pool stopped after repeated failures."""
    OUTDATED = "outdated"
    """Members are expired, invalidated or of another version."""


def is_eligible(member: MemberRow, preset: PresetRow, now: datetime) -> bool:
    """Whether a member of a preset's pool may be claimed."""
    return find_standing(member) is Standing.READY and find_lapse(member, preset, now) is None


def keeps_pool(preset: PresetRow) -> bool:
    """Whether a preset ever asks for members."""
    return preset.instances > 0 or any(row.instances > 0 for row in preset.schedules)


def explain_pool_miss(
    preset: PresetRow | None,
    members: Iterable[MemberRow],
    now: datetime,
    *,
    is_parameter_fixed: bool = False,
    is_paused: bool = False,
) -> PoolMiss:
    """Why a request that matched a preset, or none, got none of its members.

    What is nearest to being claimable is named first: a member that is about to be ready explains
    more than a pool that stopped. `is_parameter_fixed` says that the request asks for a value the
    prebuilds cannot have, `is_paused` that all pools are paused.
    """
    if preset is None:
        return PoolMiss.NO_POOL
    standings = [
        (find_standing(member), find_lapse(member, preset, now) is None) for member in members
    ]
    if not standings and not keeps_pool(preset):
        return PoolMiss.NO_POOL
    if is_parameter_fixed:
        return PoolMiss.PARAMETERS
    kept = {standing for standing, is_kept in standings if is_kept}
    lapsed = {standing for standing, is_kept in standings if not is_kept}
    if Standing.UNREADY in kept:
        return PoolMiss.UNHEALTHY
    if Standing.PENDING in kept or Standing.BUILDING in kept:
        return PoolMiss.STARTING
    if not preset.is_active:
        return PoolMiss.OUTDATED
    if Standing.READY not in kept:
        if preset.health is not PoolHealth.HEALTHY:
            return PoolMiss.HARD_LIMITED
        if preset.paused or is_paused:
            return PoolMiss.PAUSED
        if lapsed & {Standing.READY, Standing.UNREADY, Standing.PENDING, Standing.BUILDING}:
            return PoolMiss.OUTDATED
    return PoolMiss.EMPTY
