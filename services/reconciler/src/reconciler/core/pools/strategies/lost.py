"""Members that were ready once and are not any more: their agents died or do not come back."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.pools.actions import DeletePrebuild, DeleteReason
from reconciler.core.pools.state import PresetState

__all__ = ["replace_lost"]


def replace_lost(state: PresetState) -> Iterator[DeletePrebuild]:
    """Deletes them. The first time their replacements are made at once: a machine died. If what
    replaced them is lost as well, the replacements wait, and in the end the pool stops.
    """
    for member in state.census.lost:
        yield DeletePrebuild(
            preset_id=state.preset.preset_id,
            workspace_id=member.workspace_id,
            reason=DeleteReason.LOST,
        )
