"""Workspaces as people see them, and the further builds they ask for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from reconciler.core.audit import AuditEntry
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.views import WorkspaceView
from reconciler.store.audit import insert_audit
from reconciler.store.db import Connection, Database
from reconciler.store.jobs import SQL as JOBS
from reconciler.store.queries import load_queries
from reconciler.store.views import fetch_views, fetch_views_of
from svckit.errors import FailedPrecondition, NotFound

__all__ = [
    "JobView",
    "PresetRow",
    "QueuedBuild",
    "TemplateRow",
    "Workspaces",
    "insert_build",
]

SQL = load_queries("workspaces")
BUILDS = load_queries("builds")
LIFECYCLE = load_queries("lifecycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRow:
    """The template and version a request names. `version_id` None: no such version, or none is
    active.
    """

    template_id: UUID
    organization_id: UUID
    provisioner_type: str
    version_id: UUID | None
    version_name: str | None
    parameters: list[dict[str, Any]]
    is_imported: bool
    is_active: bool
    organization_name: str = ""
    workspaces_per_user_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetRow:
    """A preset of a version. `instances` None keeps no pool."""

    id: UUID
    name: str
    is_default: bool
    parameters: dict[str, str]
    instances: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job and whose it is."""

    id: UUID
    kind: str
    status: str
    error: str
    organization_id: UUID
    initiator_id: UUID
    owner_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedBuild:
    """A build that waits for a worker."""

    job_id: UUID
    organization_id: UUID
    provisioner_type: str


class Workspaces:
    """Reads workspaces, and queues further builds."""

    def __init__(self, database: Database, *, agent_timeout: timedelta) -> None:
        self._database = database
        self._agent_timeout = agent_timeout

    async def list(
        self,
        now: datetime,
        *,
        ids: Sequence[UUID] | None = None,
        owner_id: UUID | None = None,
        name: str | None = None,
        template: str | None = None,
        include_system: bool = False,
        organization_ids: Collection[UUID] | None = None,
        caller_id: UUID | None = None,
        sees_pools: bool = False,
        before: tuple[datetime, UUID] | None = None,
        limit: int = 100,
    ) -> tuple[WorkspaceView, ...]:
        """Workspaces, newest first; deleted ones only by id. `organization_ids` None means any; the
        caller's own are always among them, and those of pools if `sees_pools`.
        """
        created, below = before or (None, None)
        async with self._database.read() as connection:
            return await fetch_views(
                connection,
                list_or_none(ids),
                owner_id,
                template,
                include_system,
                list_or_none(organization_ids),
                created,
                below,
                limit,
                caller_id,
                name,
                now - self._agent_timeout,
                sees_pools,
            )

    async def get(self, workspace_id: UUID, now: datetime) -> WorkspaceView:
        """One workspace, deleted or not; raises NotFound."""
        async with self._database.read() as connection:
            found = await fetch_views_of(connection, [workspace_id], now - self._agent_timeout)
        if workspace_id not in found:
            raise NotFound(
                f"there is no workspace {workspace_id}",
                reason="WORKSPACE_UNKNOWN",
                field="workspace_id",
            )
        return found[workspace_id]

    async def find_template(
        self, organization: str, template: str, version: str | None
    ) -> TemplateRow | None:
        """The template and version by name; without a version, the active one."""
        async with self._database.read() as connection:
            r = await connection.fetchrow(SQL.find_template, organization, template, version)
        if r is None:
            return None
        return TemplateRow(
            template_id=r["template_id"],
            organization_id=r["organization_id"],
            provisioner_type=r["provisioner_type"],
            version_id=r["version_id"],
            version_name=r["version_name"],
            parameters=r["parameters"] or [],
            is_imported=r["imported_at"] is not None,
            is_active=bool(r["is_active"]),
            organization_name=r["organization_name"],
            workspaces_per_user_max=r["workspaces_per_user_max"],
        )

    async def list_presets(self, version_id: UUID) -> tuple[PresetRow, ...]:
        """The presets of a version."""
        async with self._database.read() as connection:
            records = await connection.fetch(SQL.list_presets, version_id)
        return tuple(
            PresetRow(
                id=r["id"],
                name=r["name"],
                is_default=r["is_default"],
                parameters=r["parameters"],
                instances=r["instances"],
            )
            for r in records
        )

    async def get_job(self, job_id: UUID) -> JobView:
        """A job and whose it is; raises NotFound."""
        async with self._database.read() as connection:
            r = await connection.fetchrow(JOBS.get_job, job_id)
        if r is None:
            raise NotFound(f"there is no job {job_id}", reason="JOB_UNKNOWN", field="job_id")
        return JobView(
            id=r["id"],
            kind=r["kind"],
            status=r["status"],
            error=r["error"],
            organization_id=r["organization_id"],
            initiator_id=r["initiator_id"],
            owner_id=r["owner_id"],
        )

    async def find_version_parameters(
        self, template_id: UUID, version: str | None, version_id: UUID
    ) -> tuple[UUID, list[dict[str, Any]]]:
        """The version to build, by name or the given one, and what it asks for; raises NotFound."""
        async with self._database.read() as connection:
            if version is None:
                return version_id, await connection.fetchval(SQL.get_version_parameters, version_id)
            r = await connection.fetchrow(SQL.find_version, template_id, version)
        if r is None:
            raise NotFound(
                f'version: the template has no imported version "{version}"',
                reason="VERSION_UNKNOWN",
                field="version",
            )
        return r["id"], r["parameters"]

    async def build_parameters(self, workspace_id: UUID) -> dict[str, str]:
        """The values of the latest build."""
        async with self._database.read() as connection:
            r = await connection.fetchrow(SQL.get_latest_parameters, workspace_id)
        return r["parameters"] if r else {}

    async def find_user_id(self, username: str) -> UUID | None:
        """A person's id by name; the system user included."""
        async with self._database.read() as connection:
            return await connection.fetchval(SQL.find_user_id, username)

    async def is_member(self, organization_id: UUID, user_id: UUID) -> bool:
        """Whether a user belongs to an organization."""
        async with self._database.read() as connection:
            return await connection.fetchval(SQL.is_member, organization_id, user_id)

    async def queue_build(
        self,
        workspace_id: UUID,
        owner_id: UUID,
        *,
        transition: str,
        version_id: UUID | None,
        parameters: dict[str, str] | None,
        initiator_id: UUID,
        build_id: UUID,
        job_id: UUID,
        traceparent: str,
        now: datetime,
        audit: AuditEntry | None = None,
    ) -> QueuedBuild:
        """Queues a start, stop or delete. Raises FailedPrecondition while another build is under
        way, or if the workspace is no longer `owner_id`'s: who may change a prebuild may not change
        what somebody has claimed meanwhile.
        """

        async def work(connection: Connection) -> QueuedBuild:
            row = await connection.fetchrow(BUILDS.lock_workspace, workspace_id)
            if row is None or row["deleted_at"] is not None:
                raise NotFound(
                    f"there is no workspace {workspace_id}",
                    reason="WORKSPACE_UNKNOWN",
                    field="workspace_id",
                )
            if row["owner_id"] != owner_id:
                raise FailedPrecondition(
                    "workspace_id: the workspace has changed hands; look at it again",
                    reason="OWNER_CHANGED",
                    field="workspace_id",
                )
            if row["latest_job_status"] in ("pending", "running", "canceling"):
                raise FailedPrecondition(
                    f"the workspace's {row['latest_transition']} build is"
                    f" {row['latest_job_status']}; wait for it or cancel it",
                    reason="BUILD_ACTIVE",
                )
            if audit is not None:
                await insert_audit(connection, audit, now)
            if transition == "start":
                await connection.execute(LIFECYCLE.note_use, workspace_id, SYSTEM_USER_ID, now)
            return await insert_build(
                connection,
                row,
                transition=transition,
                version_id=version_id or row["latest_template_version_id"],
                parameters=row["parameters"] if parameters is None else parameters,
                initiator_id=initiator_id,
                reason="initiator",
                is_system=False,
                build_id=build_id,
                job_id=job_id,
                traceparent=traceparent,
                now=now,
            )

        return await self._database.transact(work)


async def insert_build(
    connection: Connection,
    workspace: asyncpg.Record,
    *,
    transition: str,
    version_id: UUID,
    parameters: dict[str, str],
    initiator_id: UUID,
    reason: str,
    is_system: bool,
    build_id: UUID,
    job_id: UUID,
    traceparent: str = "",
    now: datetime,
) -> QueuedBuild:
    """Queues a build of a workspace whose row is held."""
    queued = await connection.fetchrow(
        BUILDS.insert_build,
        workspace["id"],
        build_id,
        job_id,
        transition,
        version_id,
        initiator_id,
        "ordinary",
        reason,
        parameters,
        is_system,
        traceparent,
        now,
    )
    assert queued is not None
    return QueuedBuild(
        job_id=job_id,
        organization_id=queued["organization_id"],
        provisioner_type=queued["provisioner_type"],
    )


def list_or_none(values: Collection[UUID] | None) -> list[UUID] | None:
    return None if values is None else list(values)
