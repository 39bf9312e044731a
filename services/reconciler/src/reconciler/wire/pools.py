"""Pools from a snapshot to protobuf. The numbers are those the plan is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from reconciler.core.pools import (
    PoolHealth,
    PoolPause,
    PoolSettings,
    PoolSnapshot,
    PresetState,
    count_pool,
    preset_states,
)
from reconciler.core.schedules import (
    ScheduleInvalid,
    next_change_at,
    parse_schedule,
    parse_timezone,
)
from reconciler.wire.values import encode_time
from warmpool.control.v1 import pools_pb2 as pb

__all__ = ["encode_pools"]

HEALTHS: Final[Mapping[PoolHealth, pb.PoolHealth.ValueType]] = {
    PoolHealth.HEALTHY: pb.POOL_HEALTH_HEALTHY,
    PoolHealth.HARD_LIMITED: pb.POOL_HEALTH_HARD_LIMITED,
    PoolHealth.VALIDATION_FAILED: pb.POOL_HEALTH_VALIDATION_FAILED,
}


def encode_pools(
    snapshot: PoolSnapshot,
    settings: PoolSettings,
    visible: Collection[UUID],
    claimed: Mapping[tuple[str, str, str], int],
    errors: Mapping[UUID, str],
    pauses: Mapping[tuple[UUID, str], PoolPause],
    *,
    include_inactive: bool,
) -> list[pb.Pool]:
    """The visible pools, by template and preset name. Inactive ones show while they have
    members.
    """
    return [
        _encode(state, snapshot.paused, claimed, errors, pauses)
        for state in preset_states(snapshot, settings)
        if state.preset.preset_id in visible
        and (include_inactive or state.preset.is_active or state.members or state.counted)
    ]


def _encode(
    state: PresetState,
    paused: bool,
    claimed: Mapping[tuple[str, str, str], int],
    errors: Mapping[UUID, str],
    pauses: Mapping[tuple[UUID, str], PoolPause],
) -> pb.Pool:
    preset, counts = state.preset, count_pool(state)
    pause = pauses.get((preset.template_id, preset.preset_name)) or pauses.get(
        (preset.template_id, "")
    )
    has_stopped = preset.health is not PoolHealth.HEALTHY
    key = (preset.organization_name, preset.template_name, preset.preset_name)
    return pb.Pool(
        preset_id=str(preset.preset_id),
        preset_name=preset.preset_name,
        template_name=preset.template_name,
        version_name=preset.template_version_name,
        organization_name=preset.organization_name,
        active=preset.is_active,
        desired=counts.desired,
        running=counts.running,
        eligible=counts.eligible,
        starting=counts.starting,
        deleting=counts.deleting,
        failed=counts.failed,
        health=HEALTHS[preset.health],
        paused=paused or preset.paused,
        backoff_until=encode_time(state.backoff_until),
        next_change_at=encode_time(_next_change(state)),
        claimed_total=claimed.get(key, 0),
        last_error=errors.get(preset.preset_id, ""),
        expired=counts.expired,
        delete_failed=counts.delete_failed,
        paused_by=pause.by if pause else "",
        paused_at=encode_time(pause.at if pause else None),
        stop_reason=preset.stop_reason if has_stopped else "",
        resumed_at=encode_time(preset.resumed_at),
        schedule_error=state.schedule_error,
    )


def _next_change(state: PresetState) -> datetime | None:
    preset = state.preset
    if not preset.schedules or not preset.is_active:
        return None
    try:
        schedules = [parse_schedule(row.cron, row.instances) for row in preset.schedules]
        zone = parse_timezone(preset.timezone)
    except ScheduleInvalid:
        return None
    return next_change_at(schedules, zone, preset.instances, state.now)
