"""Workspaces as people see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["AgentView", "ClaimView", "LifecycleView", "WorkspaceView"]


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
class LifecycleView:
    """When a workspace starts and stops by itself. An empty expression and 0 seconds mean never."""

    autostart_cron: str
    autostart_timezone: str
    ttl_seconds: int
    deadline_at: datetime | None
    max_deadline_at: datetime | None
    dormant_at: datetime | None
    deleting_at: datetime | None
    last_used_at: datetime | None
    next_start_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """A workspace with its latest build, its agents and its claim; a prebuild has no lifecycle."""

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
    expected_wait_seconds: int
    agents: tuple[AgentView, ...]
    claim: ClaimView | None
    lifecycle: LifecycleView | None = None
