"""More members than desired."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.pools.actions import CancelPendingCreations, DeletePrebuild, DeleteReason
from reconciler.core.pools.state import PresetState

__all__ = ["trim_extraneous"]


def trim_extraneous(state: PresetState) -> Iterator[CancelPendingCreations | DeletePrebuild]:
    """Cancels creations that no worker has begun, the newest first; then deletes members that are
    not ready, then the oldest. What is being built can be neither, so a started member is deleted
    only if the started ones alone are too many: nothing ready is given up for a promise.
    """
    preset_id, census = state.preset.preset_id, state.census
    cancelled = tuple(reversed(census.pending))[: state.excess]
    if cancelled:
        yield CancelPendingCreations(
            preset_id=preset_id, workspace_ids=tuple(member.workspace_id for member in cancelled)
        )
    for member in (*census.unready, *census.ready)[: state.surplus]:
        yield DeletePrebuild(
            preset_id=preset_id,
            workspace_id=member.workspace_id,
            reason=DeleteReason.EXTRANEOUS,
        )
