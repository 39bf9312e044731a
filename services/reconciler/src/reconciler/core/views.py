"""Workspaces as people see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["AgentView", "ClaimView", "WorkspaceView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent as people see it."""

    id: UUID
    name: str
    lifecycle: str
    is_connected: bool
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """A claim's timeline."""

    id: UUID
    requested_at: datetime
    claimed_at: datetime
    built_at: datetime | None
    delivered_at: datetime | None
    applied_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """A workspace with its latest build, its agents and its claim."""

    id: UUID
    organization_id: UUID
    owner_id: UUID
    owner_name: str
    is_prebuild: bool
    name: str
    template_id: UUID
    template_name: str
    preset_name: str
    preset_id: UUID | None
    created_at: datetime
    deleted_at: datetime | None
    pool_miss: str
    build_id: UUID
    build_number: int
    transition: str
    job_id: UUID
    job_status: str
    job_error: str
    version_id: UUID
    version_name: str
    reason: str
    build_created_at: datetime
    queue_position: int
    agents: tuple[AgentView, ...]
    claim: ClaimView | None
