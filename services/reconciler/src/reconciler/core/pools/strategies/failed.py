"""Members that do not run and never will."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.pools.actions import DeletePrebuild, DeleteReason
from reconciler.core.pools.state import PresetState

__all__ = ["clear_failed"]


def clear_failed(state: PresetState) -> Iterator[DeletePrebuild]:
    """Deletes what failed or halted, but keeps the newest failed one, so that somebody can look at
    it. It goes once a newer one failed, or when it lapses.
    """
    for member in (*state.census.failed[:-1], *state.census.halted):
        yield DeletePrebuild(
            preset_id=state.preset.preset_id,
            workspace_id=member.workspace_id,
            reason=DeleteReason.FAILED,
        )
