"""Fewer members than desired."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.pools.actions import BackOffUntil, CreatePrebuild
from reconciler.core.pools.gate import Gate, find_gate
from reconciler.core.pools.state import PresetState

__all__ = ["create_missing"]


def create_missing(state: PresetState) -> Iterator[BackOffUntil | CreatePrebuild]:
    """Creates what is missing, unless the pool is limited or waits after failures or losses. A
    probe is one member, and it does not wait: somebody asked for it.
    """
    if state.missing == 0:
        return
    preset_id = state.preset.preset_id
    match find_gate(state):
        case Gate.TRIPPED | Gate.CLOSED:
            pass
        case Gate.PROBE:
            yield CreatePrebuild(preset_id=preset_id, count=1)
        case Gate.OPEN | Gate.RECOVERED:
            until = state.backoff_until
            if until is None:
                yield CreatePrebuild(preset_id=preset_id, count=state.missing)
            else:
                yield BackOffUntil(
                    preset_id=preset_id,
                    until=until,
                    failure_count=state.setback_count,
                )
