"""The numbers of every active pool, for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.pools.counts import PoolCounts, count_pool
from reconciler.core.pools.plan import preset_states
from reconciler.core.pools.settings import PoolSettings
from reconciler.core.pools.snapshot import PoolHealth, PoolSnapshot, PresetRow

__all__ = ["PoolFigures", "read_figures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFigures:
    """One pool, by the names people know it by."""

    template_name: str
    preset_name: str
    organization_name: str
    desired: int
    running: int
    eligible: int
    health: PoolHealth


def read_figures(snapshot: PoolSnapshot, settings: PoolSettings) -> tuple[PoolFigures, ...]:
    """The figures of each active preset; members of older versions are told by nobody."""
    looked_at = (
        _describe(state.preset, count_pool(state))
        for state in preset_states(snapshot, settings)
        if state.preset.is_active
    )
    resting = (
        _describe(
            pool.preset,
            PoolCounts(
                desired=pool.member_count, running=pool.member_count, eligible=pool.member_count
            ),
        )
        for pool in snapshot.resting
        if pool.preset.is_active
    )
    return (*looked_at, *resting)


def _describe(preset: PresetRow, counts: PoolCounts) -> PoolFigures:
    return PoolFigures(
        template_name=preset.template_name,
        preset_name=preset.preset_name,
        organization_name=preset.organization_name,
        desired=counts.desired,
        running=counts.running,
        eligible=counts.eligible,
        health=preset.health,
    )
