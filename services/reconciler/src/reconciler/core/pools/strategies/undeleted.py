"""Members whose deletion failed: they cost, and nobody sees them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from reconciler.core.pools.actions import DeletePrebuild, DeleteReason
from reconciler.core.pools.settings import PoolSettings
from reconciler.core.pools.snapshot import MemberRow
from reconciler.core.pools.state import PresetState

__all__ = ["deletion_due_at", "is_deletion_due", "retry_deletions"]

_DOUBLINGS_MAX = 30  # 2**30 intervals are longer than any maximum


def retry_deletions(state: PresetState) -> Iterator[DeletePrebuild]:
    """Deletes them again, after a wait that doubles with every failure up to a maximum."""
    for member in state.census.delete_failed:
        if is_deletion_due(member, state.now, state.settings):
            yield DeletePrebuild(
                preset_id=state.preset.preset_id,
                workspace_id=member.workspace_id,
                reason=DeleteReason.DELETE_FAILED,
            )


def is_deletion_due(member: MemberRow, now: datetime, settings: PoolSettings) -> bool:
    """Whether a failed deletion has waited long enough."""
    due_at = deletion_due_at(member, settings)
    return due_at is None or now >= due_at


def deletion_due_at(member: MemberRow, settings: PoolSettings) -> datetime | None:
    """When a failed deletion is tried again; None if it need not wait."""
    if member.delete_failed_at is None:
        return None
    doublings = min(max(member.delete_failure_count - 1, 0), _DOUBLINGS_MAX)
    wait_seconds = min(
        settings.delete_retry_interval_seconds * 2**doublings, settings.delete_retry_max_seconds
    )
    return member.delete_failed_at + timedelta(seconds=wait_seconds)
