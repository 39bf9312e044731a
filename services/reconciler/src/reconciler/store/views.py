"""Rows of workspaces as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.jobs import expect_wait
from reconciler.core.views import AgentView, ClaimView, LifecycleView, WorkspaceView
from reconciler.store.db import Connection
from reconciler.store.queries import load_queries

__all__ = ["fetch_views", "fetch_views_of", "read_view"]

SQL = load_queries("workspaces")
JOBS = load_queries("jobs")


async def fetch_views(connection: Connection, *arguments: object) -> tuple[WorkspaceView, ...]:
    """What `list_workspaces` finds for its arguments, and where pending jobs stand in the queue."""
    return await _read(connection, await connection.fetch(SQL.list_workspaces, *arguments))


async def fetch_views_of(
    connection: Connection, workspace_ids: Sequence[UUID], seen_after: datetime
) -> dict[UUID, WorkspaceView]:
    """These workspaces, deleted or not, by id; agents seen after that moment are connected."""
    if not workspace_ids:
        return {}
    records = await connection.fetch(SQL.get_workspaces, workspace_ids, seen_after)
    return {view.id: view for view in await _read(connection, records)}


async def _read(
    connection: Connection, records: Sequence[asyncpg.Record]
) -> tuple[WorkspaceView, ...]:
    pending = [r["job_id"] for r in records if r["job_status"] == "pending"]
    places: dict[UUID, tuple[int, int]] = {}
    if pending:
        rows = await connection.fetch(JOBS.queue_positions, pending)
        places = {row["id"]: (row["position"], _read_wait(row)) for row in rows}
    return tuple(read_view(r, *places.get(r["job_id"], (0, 0))) for r in records)


def _read_wait(row: asyncpg.Record) -> int:
    return expect_wait(ahead=row["ahead"], took_seconds=row["seconds"], in_hand=row["in_hand"])


def read_view(r: asyncpg.Record, queue_position: int, expected_wait_seconds: int) -> WorkspaceView:
    """A row with the columns of `get_workspaces`, and where its job stands in the queue."""
    return WorkspaceView(
        id=r["id"],
        organization_id=r["organization_id"],
        owner_id=r["owner_id"],
        owner_name=r["owner_name"],
        is_prebuild=r["is_system"],
        name=r["name"],
        template_id=r["template_id"],
        template_name=r["template_name"],
        preset_name=r["preset_name"],
        preset_id=r["preset_id"],
        created_at=r["created_at"],
        deleted_at=r["deleted_at"],
        pool_miss=r["pool_miss"],
        build_id=r["build_id"],
        build_number=r["number"],
        transition=r["transition"],
        job_id=r["job_id"],
        job_status=r["job_status"],
        job_error=r["job_error"],
        version_id=r["template_version_id"],
        version_name=r["version_name"],
        reason=r["reason"],
        build_created_at=r["build_created_at"],
        queue_position=queue_position,
        expected_wait_seconds=expected_wait_seconds,
        agents=tuple(
            AgentView(
                id=UUID(a["id"]),
                name=a["name"],
                lifecycle=a["lifecycle"],
                is_connected=bool(a["connected"]),
                last_seen_at=datetime.fromisoformat(a["last_seen_at"])
                if a["last_seen_at"]
                else None,
            )
            for a in r["agents"] or ()
        ),
        claim=ClaimView(
            id=r["claim_id"],
            requested_at=r["requested_at"],
            claimed_at=r["claimed_at"],
            built_at=r["built_at"],
            delivered_at=r["delivered_at"],
            applied_at=r["applied_at"],
            error=r["claim_error"],
        )
        if r["claim_id"]
        else None,
        lifecycle=None if r["is_system"] else _read_lifecycle(r),
    )


def _read_lifecycle(r: asyncpg.Record) -> LifecycleView:
    return LifecycleView(
        autostart_cron=r["autostart_schedule"] or "",
        autostart_timezone=r["autostart_timezone"] or "",
        ttl_seconds=r["ttl_seconds"] or 0,
        deadline_at=r["deadline_at"],
        max_deadline_at=r["max_deadline_at"],
        dormant_at=r["dormant_at"],
        deleting_at=r["deleting_at"],
        last_used_at=r["last_used_at"],
        next_start_at=r["next_start_at"],
    )
