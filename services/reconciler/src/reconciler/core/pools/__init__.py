"""What to keep warm: facts in, actions out."""

from __future__ import annotations

from reconciler.core.pools.actions import (
    Action,
    BackOffUntil,
    CancelPendingCreations,
    CreatePrebuild,
    DeletePrebuild,
    DeleteReason,
    MarkHardLimited,
    MarkHealthy,
)
from reconciler.core.pools.counts import PoolCounts, count_pool
from reconciler.core.pools.eligibility import PoolMiss, explain_pool_miss, is_eligible
from reconciler.core.pools.plan import (
    PoolPlan,
    PresetPlan,
    can_skip_reconciliation,
    plan,
    preset_states,
)
from reconciler.core.pools.settings import PoolSettings, concurrency_limit
from reconciler.core.pools.snapshot import (
    BuildHistory,
    MemberRow,
    PoolHealth,
    PoolSnapshot,
    PresetRow,
    ScheduleRow,
    Transition,
)
from reconciler.core.pools.state import PresetState

__all__ = [
    "Action",
    "BackOffUntil",
    "BuildHistory",
    "CancelPendingCreations",
    "CreatePrebuild",
    "DeletePrebuild",
    "DeleteReason",
    "MarkHardLimited",
    "MarkHealthy",
    "MemberRow",
    "PoolCounts",
    "PoolHealth",
    "PoolMiss",
    "PoolPlan",
    "PoolSettings",
    "PoolSnapshot",
    "PresetPlan",
    "PresetRow",
    "PresetState",
    "ScheduleRow",
    "Transition",
    "can_skip_reconciliation",
    "concurrency_limit",
    "count_pool",
    "explain_pool_miss",
    "is_eligible",
    "plan",
    "preset_states",
]
