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
from reconciler.core.pools.claim_steps import CLAIM_STEPS, ClaimStep, find_claim_steps
from reconciler.core.pools.counts import PoolCounts, count_pool
from reconciler.core.pools.eligibility import PoolMiss, explain_pool_miss, is_eligible
from reconciler.core.pools.figures import PoolFigures, read_figures
from reconciler.core.pools.losses import count_waves
from reconciler.core.pools.plan import (
    PoolPlan,
    PresetPlan,
    can_skip_reconciliation,
    plan,
    preset_states,
)
from reconciler.core.pools.resting import MemberTotals, count_nameable, is_resting
from reconciler.core.pools.settings import PoolSettings, concurrency_limit
from reconciler.core.pools.snapshot import (
    BuildHistory,
    CountedMembers,
    Loss,
    MemberRow,
    PoolHealth,
    PoolPause,
    PoolSnapshot,
    PresetRow,
    RestingPool,
    ScheduleRow,
    Transition,
)
from reconciler.core.pools.state import PresetState
from reconciler.core.pools.waking import LOOK_AGAIN_WITHIN, wait_seconds
from reconciler.core.pools.words import describe_hard_limit

__all__ = [
    "CLAIM_STEPS",
    "LOOK_AGAIN_WITHIN",
    "Action",
    "BackOffUntil",
    "BuildHistory",
    "CancelPendingCreations",
    "ClaimStep",
    "CountedMembers",
    "CreatePrebuild",
    "DeletePrebuild",
    "DeleteReason",
    "Loss",
    "MarkHardLimited",
    "MarkHealthy",
    "MemberRow",
    "MemberTotals",
    "PoolCounts",
    "PoolFigures",
    "PoolHealth",
    "PoolMiss",
    "PoolPause",
    "PoolPlan",
    "PoolSettings",
    "PoolSnapshot",
    "PresetPlan",
    "PresetRow",
    "PresetState",
    "RestingPool",
    "ScheduleRow",
    "Transition",
    "can_skip_reconciliation",
    "concurrency_limit",
    "count_nameable",
    "count_pool",
    "count_waves",
    "describe_hard_limit",
    "explain_pool_miss",
    "find_claim_steps",
    "is_eligible",
    "is_resting",
    "plan",
    "preset_states",
    "read_figures",
    "wait_seconds",
]
