"""What a plan may ask for. A closed union: `match` on it without a wildcard.

Each action names rows the one who applies it re-reads in its own transaction, because the plan was
made of a snapshot and a claim may have come in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

__all__ = [
    "Action",
    "BackOffUntil",
    "CancelPendingCreations",
    "CreatePrebuild",
    "DeletePrebuild",
    "DeleteReason",
    "MarkHardLimited",
    "MarkHealthy",
]


class DeleteReason(Enum):
    """Why a member goes."""

    OUTDATED = "outdated"
    """Its version is not active, its template is retired or its preset is gone."""
    INVALIDATED = "invalidated"
    """Somebody asked for new members after it was created."""
    EXPIRED = "expired"
    """It is older than the preset's TTL."""
    NEVER_READY = "never_ready"
    """It runs, and its agents did not become ready in time."""
    LOST = "lost"
    """It runs and was ready once, and its agents have not been for too long."""
    FAILED = "failed"
    """It does not run, and a newer one is kept for debugging or there is nothing to debug."""
    EXTRANEOUS = "extraneous"
    """There are more than desired."""
    DELETE_FAILED = "delete_failed"
    """An earlier deletion of it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPendingCreations:
    """Cancel the first builds of these workspaces and remove the rows, in one transaction.

    Applies to those whose job is still pending and in no worker's hands; the rest stay as they are.
    """

    preset_id: UUID | None
    workspace_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePrebuild:
    """Build a deletion for a member that is still the pool's and has no build in flight."""

    preset_id: UUID | None
    workspace_id: UUID
    reason: DeleteReason


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkHardLimited:
    """Say that the pool stopped, and notify once: after this many failed creations in a row, or
    after it lost its members this many times in a row.
    """

    preset_id: UUID
    failure_count: int
    is_by_losses: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkHealthy:
    """Lift the hard limit: a probe succeeded, or the limit was switched off."""

    preset_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOffUntil:
    """Creations that are due wait until then, after this many recent failures and losses."""

    preset_id: UUID
    until: datetime
    failure_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePrebuild:
    """Create this many members, one or more."""

    preset_id: UUID
    count: int


Action = (
    CancelPendingCreations
    | DeletePrebuild
    | MarkHardLimited
    | MarkHealthy
    | BackOffUntil
    | CreatePrebuild
)
