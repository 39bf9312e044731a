"""Members that may not be given to anybody any more: outdated, invalidated or expired."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.pools.actions import CancelPendingCreations, DeletePrebuild
from reconciler.core.pools.state import PresetState

__all__ = ["replace_lapsed"]


def replace_lapsed(state: PresetState) -> Iterator[CancelPendingCreations | DeletePrebuild]:
    """Cancels those that no worker has begun, deletes those that exist. The ones being built are
    left to finish; they count as supply no more, so their replacements are made at once.
    """
    preset_id, census = state.preset.preset_id, state.census
    if census.pending_lapsed:
        yield CancelPendingCreations(
            preset_id=preset_id,
            workspace_ids=tuple(member.workspace_id for member in census.pending_lapsed),
        )
    for member, reason in census.lapsed:
        yield DeletePrebuild(preset_id=preset_id, workspace_id=member.workspace_id, reason=reason)
