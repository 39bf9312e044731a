"""Members that were built and whose agents never became ready: they only look like supply."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.pools.actions import DeletePrebuild, DeleteReason
from reconciler.core.pools.state import PresetState

__all__ = ["recycle_never_ready"]


def recycle_never_ready(state: PresetState) -> Iterator[DeletePrebuild]:
    """Deletes them; what replaces them is up to the same limits as any other failure."""
    for member in state.census.never_ready:
        yield DeletePrebuild(
            preset_id=state.preset.preset_id,
            workspace_id=member.workspace_id,
            reason=DeleteReason.NEVER_READY,
        )
