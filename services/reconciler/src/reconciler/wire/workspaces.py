"""Workspaces between protobuf and values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from reconciler.core.lifecycle import LifecycleChange
from reconciler.core.pools import PoolMiss
from reconciler.core.views import AgentView, ClaimView, LifecycleView, WorkspaceView
from reconciler.wire.values import JOB_STATUSES, encode_time
from svckit.errors import InvalidArgument
from warmpool.common.v1 import types_pb2 as common
from warmpool.control.v1 import workspaces_pb2 as pb

__all__ = [
    "POOL_MISSES",
    "POOL_MISS_MESSAGES",
    "decode_lifecycle_change",
    "decode_page_token",
    "encode_page_token",
    "encode_workspace",
]

POOL_MISSES: Final[Mapping[PoolMiss, pb.PoolMiss.ValueType]] = {
    PoolMiss.NO_POOL: pb.POOL_MISS_NO_POOL,
    PoolMiss.EMPTY: pb.POOL_MISS_EMPTY,
    PoolMiss.STARTING: pb.POOL_MISS_STARTING,
    PoolMiss.UNHEALTHY: pb.POOL_MISS_UNHEALTHY,
    PoolMiss.PARAMETERS: pb.POOL_MISS_PARAMETERS,
    PoolMiss.PAUSED: pb.POOL_MISS_PAUSED,
    PoolMiss.HARD_LIMITED: pb.POOL_MISS_HARD_LIMITED,
    PoolMiss.OUTDATED: pb.POOL_MISS_OUTDATED,
}
POOL_MISS_MESSAGES: Final[Mapping[PoolMiss, str]] = {
    PoolMiss.NO_POOL: "no preset with a pool matches the request",
    PoolMiss.EMPTY: "the pool is empty",
    PoolMiss.STARTING: "the pool's members are still being built",
    PoolMiss.UNHEALTHY: "the pool's members run, but their agents are not ready or not connected",
    PoolMiss.PARAMETERS: "a parameter differs from what the pool's members were built with",
    PoolMiss.PAUSED: "the pool is paused and empty",
    PoolMiss.HARD_LIMITED: "the pool stopped after repeated failures",
    PoolMiss.OUTDATED: "the pool's members are expired, invalidated or of another version",
}
TRANSITIONS: Final[Mapping[str, common.Transition.ValueType]] = {
    "start": common.TRANSITION_START,
    "stop": common.TRANSITION_STOP,
    "delete": common.TRANSITION_DELETE,
}
LIFECYCLES: Final[Mapping[str, common.AgentLifecycle.ValueType]] = {
    "created": common.AGENT_LIFECYCLE_CREATED,
    "starting": common.AGENT_LIFECYCLE_STARTING,
    "ready": common.AGENT_LIFECYCLE_READY,
    "start_error": common.AGENT_LIFECYCLE_START_ERROR,
    "start_timeout": common.AGENT_LIFECYCLE_START_TIMEOUT,
    "shutting_down": common.AGENT_LIFECYCLE_SHUTTING_DOWN,
    "off": common.AGENT_LIFECYCLE_OFF,
}


def encode_workspace(view: WorkspaceView) -> pb.Workspace:
    """A workspace as people see it."""
    return pb.Workspace(
        id=str(view.id),
        organization_id=str(view.organization_id),
        owner_id=str(view.owner_id),
        owner_name=view.owner_name,
        name=view.name,
        template_id=str(view.template_id),
        template_name=view.template_name,
        preset_name=view.preset_name,
        created_at=encode_time(view.created_at),
        is_prebuild=view.is_prebuild,
        latest_build=pb.WorkspaceBuild(
            id=str(view.build_id),
            number=view.build_number,
            transition=TRANSITIONS[view.transition],
            job_id=str(view.job_id),
            job_status=JOB_STATUSES[view.job_status],
            job_error=view.job_error,
            template_version_id=str(view.version_id),
            template_version_name=view.version_name,
            reason=view.reason,
            created_at=encode_time(view.build_created_at),
            queue_position=view.queue_position,
            expected_wait_seconds=view.expected_wait_seconds,
        ),
        agents=map(_encode_agent, view.agents),
        claim=_encode_claim(view.claim) if view.claim else None,
        deleted_at=encode_time(view.deleted_at),
        lifecycle=_encode_lifecycle(view.lifecycle) if view.lifecycle else None,
    )


def _encode_lifecycle(view: LifecycleView) -> pb.WorkspaceLifecycle:
    return pb.WorkspaceLifecycle(
        autostart_cron=view.autostart_cron,
        autostart_timezone=view.autostart_timezone,
        ttl_seconds=view.ttl_seconds,
        deadline_at=encode_time(view.deadline_at),
        max_deadline_at=encode_time(view.max_deadline_at),
        dormant_at=encode_time(view.dormant_at),
        deleting_at=encode_time(view.deleting_at),
        last_used_at=encode_time(view.last_used_at),
        next_start_at=encode_time(view.next_start_at),
    )


def decode_lifecycle_change(request: pb.SetWorkspaceLifecycleRequest) -> LifecycleChange:
    """What to set; not judged yet."""
    return LifecycleChange(
        autostart_cron=request.autostart_cron if request.HasField("autostart_cron") else None,
        autostart_timezone=request.autostart_timezone
        if request.HasField("autostart_timezone")
        else None,
        ttl_seconds=request.ttl_seconds if request.HasField("ttl_seconds") else None,
        is_dormant=request.dormant if request.HasField("dormant") else None,
    )


def _encode_agent(agent: AgentView) -> pb.WorkspaceAgent:
    return pb.WorkspaceAgent(
        id=str(agent.id),
        name=agent.name,
        lifecycle=LIFECYCLES[agent.lifecycle],
        connected=agent.is_connected,
        last_seen_at=encode_time(agent.last_seen_at),
    )


def _encode_claim(claim: ClaimView) -> pb.Claim:
    return pb.Claim(
        id=str(claim.id),
        requested_at=encode_time(claim.requested_at),
        claimed_at=encode_time(claim.claimed_at),
        built_at=encode_time(claim.built_at),
        delivered_at=encode_time(claim.delivered_at),
        applied_at=encode_time(claim.applied_at),
        error=claim.error,
    )


def encode_page_token(created_at: datetime, workspace_id: UUID) -> str:
    """Where a page ended."""
    return f"{created_at.isoformat()}/{workspace_id}"


def decode_page_token(token: str) -> tuple[datetime, UUID] | None:
    """Where the page before ended; None for the first page."""
    if not token:
        return None
    try:
        moment, _, workspace_id = token.partition("/")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(workspace_id)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            "page_token: not one this server gave",
            reason="PAGE_TOKEN_INVALID",
            field="page_token",
        ) from None
