"""Whether a preset's pool may create at all: a circuit breaker.

    HEALTHY --failures in a row, or waves of losses, reach the limit--> TRIPPED: marked hard
        limited, creates nothing
    HEALTHY, and the limit is reached if what this pass gives up is lost --> CLOSED: nothing is
        marked for what has not happened; the next pass sees whether it has
    HARD_LIMITED --somebody resumes it--> PROBE: exactly one creation
    HARD_LIMITED, probe in flight or failed --> CLOSED
    HARD_LIMITED, probe succeeded, or the limit is switched off --> RECOVERED: marked healthy, open
    VALIDATION_FAILED --> CLOSED until a new version

Promise: one resume makes at most one member at a time until a member's build has succeeded. A probe
is any member created since the resume, so builds that were under way before decide nothing; nor do
losses before it; nor does a build that failed and is in no history, for its worker was lost or none
took it: there may be another probe, and the failed member only shows why.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum, auto

from reconciler.core.pools.snapshot import PoolHealth
from reconciler.core.pools.standing import Standing, find_standing
from reconciler.core.pools.state import PresetState

__all__ = ["Gate", "find_gate"]


class Gate(Enum):
    """Whether a pool may create."""

    OPEN = auto()
    RECOVERED = auto()
    PROBE = auto()
    TRIPPED = auto()
    CLOSED = auto()


def find_gate(state: PresetState) -> Gate:
    """Whether a preset's pool may create now."""
    limit = state.settings.failure_hard_limit
    match state.preset.health:
        case PoolHealth.VALIDATION_FAILED:
            return Gate.CLOSED
        case PoolHealth.HEALTHY:
            count = max(state.history.consecutive_failure_count, state.consecutive_loss_count)
            if 0 < limit <= count:
                return Gate.TRIPPED
            return Gate.CLOSED if 0 < limit <= state.impending_loss_count else Gate.OPEN
        case PoolHealth.HARD_LIMITED if limit == 0:
            return Gate.RECOVERED
        case PoolHealth.HARD_LIMITED:
            resumed_at = state.preset.resumed_at
            return Gate.CLOSED if resumed_at is None else _find_probe_gate(state, resumed_at)


def _find_probe_gate(state: PresetState, resumed_at: datetime) -> Gate:
    if _is_since(state.history.last_succeeded_created_at, resumed_at):
        return Gate.RECOVERED
    if _is_since(state.history.last_failed_created_at, resumed_at):
        return Gate.CLOSED
    if any(
        member.created_at >= resumed_at and find_standing(member) is not Standing.FAILED
        for member in state.members
    ):
        return Gate.CLOSED
    if any(group.newest_created_at >= resumed_at for group in state.counted):
        return Gate.CLOSED
    return Gate.PROBE


def _is_since(moment: datetime | None, start: datetime) -> bool:
    return moment is not None and moment >= start
