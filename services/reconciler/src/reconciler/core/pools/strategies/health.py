"""A pool that failed too often stops and says so; one that works again says that too."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.pools.actions import MarkHardLimited, MarkHealthy
from reconciler.core.pools.gate import Gate, find_gate
from reconciler.core.pools.state import PresetState

__all__ = ["mark_health"]


def mark_health(state: PresetState) -> Iterator[MarkHardLimited | MarkHealthy]:
    """Marks the change, once: what is marked already is not marked again."""
    if not state.preset.is_active:
        return
    match find_gate(state):
        case Gate.TRIPPED:
            failures, losses = state.history.consecutive_failure_count, state.consecutive_loss_count
            yield MarkHardLimited(
                preset_id=state.preset.preset_id,
                failure_count=max(failures, losses),
                is_by_losses=losses > failures,
            )
        case Gate.RECOVERED:
            yield MarkHealthy(preset_id=state.preset.preset_id)
        case Gate.OPEN | Gate.PROBE | Gate.CLOSED:
            pass
