"""What workspaces of people do by themselves, stored.

Promises: every change holds the workspace's row and decides anew from what is there; the pool's are
left alone by every statement, and a constraint would refuse it. Builds that are queued here are the
owner's, but wait behind what people ask for, as the pool's do: nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.audit import Actor, AuditEntry, read_trace_id
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.lifecycle import (
    RETRY_AFTER,
    Action,
    Deadlines,
    Delete,
    LifecycleChange,
    MarkDormant,
    PlanStart,
    Settings,
    Start,
    Stop,
    TemplatePolicy,
    Wake,
    WorkspaceFacts,
    bump,
    change_settings,
    check_policy,
    decide,
    deletion_due_at,
    extend,
    parse_autostart,
    restart_run,
)
from reconciler.core.lifecycle.policy import TTL_SECONDS_MAX, check_seconds
from reconciler.core.parameters import read_parameters, require_valid
from reconciler.core.templates import TemplateView
from reconciler.store.audit import insert_audit
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from reconciler.store.template_rows import read_policy
from reconciler.store.workspaces import QueuedBuild, insert_build
from svckit.errors import FailedPrecondition, NotFound

__all__ = ["DueWorkspace", "Lifecycles", "Settled"]

SQL = load_queries("lifecycle")
BUILDS = load_queries("builds")
WORKSPACES = load_queries("workspaces")


@dataclass(frozen=True, slots=True)
class DueWorkspace:
    """A workspace for which something is due since then."""

    id: UUID
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What was done for a workspace; `queued` is the build, if it took one."""

    action: Action
    queued: QueuedBuild | None


class Lifecycles:
    """Reads and changes what workspaces do by themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_due(
        self, until: datetime, limit: int, *, except_ids: Collection[UUID] = ()
    ) -> tuple[DueWorkspace, ...]:
        """People's workspaces for which something is due by then, the longest due first."""
        async with self._database.read() as connection:
            rows = await connection.fetch(
                SQL.list_due,
                SYSTEM_USER_ID,
                until,
                limit,
                [*except_ids],
                RETRY_AFTER.total_seconds(),
            )
        return tuple(DueWorkspace(row["id"], row["due_at"]) for row in rows)

    async def settle(
        self, workspace_id: UUID, build_id: UUID, job_id: UUID, now: datetime, traceparent: str = ""
    ) -> Settled | None:
        """Does what is due for a workspace; None if nothing is, or it is the pool's or gone."""

        async def work(connection: Connection) -> Settled | None:
            row = await connection.fetchrow(SQL.hold_lifecycle, workspace_id, SYSTEM_USER_ID)
            if row is None:
                return None
            action = decide(read_policy(row), _read_facts(row), now)
            if action is None:
                return None
            queued = await _carry_out(
                connection, row, action, build_id, job_id, now, traceparent=traceparent
            )
            return Settled(action, queued)

        return await self._database.transact(work)

    async def change(
        self, workspace_id: UUID, change: LifecycleChange, actor: Actor, now: datetime
    ) -> None:
        """Sets what the owner wants. Raises NotFound, FailedPrecondition for a prebuild, and what
        `change_settings` raises.
        """

        async def work(connection: Connection) -> None:
            row = await _hold(connection, workspace_id)
            policy = read_policy(row)
            before = Settings(
                autostart_cron=row["autostart_schedule"],
                autostart_timezone=row["autostart_timezone"],
                next_start_at=row["next_start_at"],
                ttl_seconds=row["ttl_seconds"],
            )
            after = change_settings(policy, before, change, now)
            if after != before:
                await connection.execute(
                    SQL.set_lifecycle,
                    workspace_id,
                    SYSTEM_USER_ID,
                    after.autostart_cron,
                    after.autostart_timezone,
                    after.next_start_at,
                    after.ttl_seconds,
                )
            if change.ttl_seconds is not None and _is_running(row):
                deadlines = restart_run(after.ttl_seconds, _read_deadlines(row), now)
                await _set_deadlines(connection, row, deadlines)
            if change.is_dormant is False:
                await _wake(connection, row, now)
            elif change.is_dormant and row["dormant_at"] is None:
                await _set_dormant(connection, workspace_id, now, deletion_due_at(policy, now))
            if after != before or change.is_dormant is not None:
                entry = actor.entry(
                    "workspace.lifecycle",
                    "workspace",
                    workspace_id,
                    organization_id=row["organization_id"],
                    name=row["name"],
                    autostart=after.autostart_cron,
                    timezone=after.autostart_timezone,
                    ttl_seconds=after.ttl_seconds,
                    dormant=change.is_dormant,
                )
                await insert_audit(connection, entry, now)

        await self._database.transact(work)

    async def note_use(self, workspace_id: UUID, extend_seconds: int, now: datetime) -> None:
        """The workspace is in use: it wakes, and its deadline moves by the template's bump, or to
        so long from now. Raises as `change` does, and FailedPrecondition if there is no deadline
        that could be moved.
        """
        check_seconds(extend_seconds, "extend_seconds", TTL_SECONDS_MAX)

        async def work(connection: Connection) -> None:
            row = await _hold(connection, workspace_id)
            before = _read_deadlines(row)
            if extend_seconds and before.deadline_at is None:
                raise FailedPrecondition(
                    "extend_seconds: the workspace does not stop by itself now, so there is no"
                    " deadline to move",
                    reason="NO_DEADLINE",
                    field="extend_seconds",
                )
            await _wake(connection, row, now)
            after = (
                extend(extend_seconds, before, now)
                if extend_seconds
                else bump(read_policy(row), before, now)
            )
            await _set_deadlines(connection, row, after)

        await self._database.transact(work)

    async def set_policy(
        self, template: TemplateView, policy: TemplatePolicy, actor: Actor, now: datetime
    ) -> None:
        """Sets what a template's workspaces do. Those that are dormant get the whole of a new time
        to their deletion. Raises InvalidArgument, or NotFound if it was deleted.
        """
        check_policy(policy)

        async def work(connection: Connection) -> None:
            held = await connection.fetchval(
                SQL.set_template_policy,
                template.id,
                policy.default_ttl_seconds,
                policy.activity_bump_seconds,
                policy.max_ttl_seconds,
                policy.dormant_after_seconds,
                policy.delete_dormant_after_seconds,
                policy.failure_ttl_seconds,
                policy.is_autostart_allowed,
            )
            if held is None:
                raise NotFound(
                    f'template: there is no template "{template.name}"',
                    reason="TEMPLATE_UNKNOWN",
                    field="template",
                )
            if policy.delete_dormant_after_seconds != template.policy.delete_dormant_after_seconds:
                await connection.execute(
                    SQL.replan_deletions, template.id, SYSTEM_USER_ID, deletion_due_at(policy, now)
                )
            entry = actor.entry(
                "template.policy",
                "template",
                template.id,
                organization_id=template.organization_id,
                template=template.name,
                before=asdict(template.policy),
                after=asdict(policy),
            )
            await insert_audit(connection, entry, now)

        await self._database.transact(work)


async def _hold(connection: Connection, workspace_id: UUID) -> asyncpg.Record:
    row = await connection.fetchrow(SQL.hold_lifecycle, workspace_id, SYSTEM_USER_ID)
    if row is not None:
        return row
    if await connection.fetchval(SQL.is_prebuild, workspace_id, SYSTEM_USER_ID):
        raise FailedPrecondition(
            "workspace_id: a prebuild belongs to its pool and does nothing by itself; it can be"
            " claimed or deleted",
            reason="IS_A_PREBUILD",
            field="workspace_id",
        )
    raise NotFound(
        f"there is no workspace {workspace_id}", reason="WORKSPACE_UNKNOWN", field="workspace_id"
    )


async def _carry_out(
    connection: Connection,
    row: asyncpg.Record,
    action: Action,
    build_id: UUID,
    job_id: UUID,
    now: datetime,
    *,
    traceparent: str,
) -> QueuedBuild | None:
    async def queue(transition: str, reason: str) -> QueuedBuild:
        workspace = await connection.fetchrow(BUILDS.lock_workspace, row["id"])
        assert workspace is not None
        parameters: dict[str, str] = workspace["parameters"]
        version_id = workspace["latest_template_version_id"]
        if transition == "start":
            asked = await connection.fetchval(WORKSPACES.get_version_parameters, version_id)
            parameters = require_valid(read_parameters(asked), {}, parameters)
        return await insert_build(
            connection,
            workspace,
            transition=transition,
            version_id=version_id,
            parameters=parameters,
            initiator_id=row["owner_id"],
            reason=reason,
            is_system=True,  # waits behind people, who wait for theirs
            build_id=build_id,
            job_id=job_id,
            traceparent=traceparent,
            now=now,
        )

    match action:
        case Start(next_start_at=next_start_at):
            await connection.execute(SQL.plan_start, row["id"], SYSTEM_USER_ID, next_start_at)
            return await queue("start", "autostart")
        case PlanStart(next_start_at=next_start_at):
            await connection.execute(SQL.plan_start, row["id"], SYSTEM_USER_ID, next_start_at)
        case Stop(reason=reason):
            return await queue("stop", reason.value)
        case Delete():
            entry = AuditEntry(
                id=build_id,
                actor_id=None,
                action="workspace.delete",
                target_kind="workspace",
                target_id=str(row["id"]),
                organization_id=row["organization_id"],
                details={"name": row["name"], "owner": row["owner_name"], "reason": "autodelete"},
                trace_id=read_trace_id(traceparent),
            )
            await insert_audit(connection, entry, now)
            return await queue("delete", "autodelete")
        case MarkDormant(deleting_at=deleting_at):
            await _set_dormant(connection, row["id"], now, deleting_at)
        case Wake():
            await _set_dormant(connection, row["id"], None, None)
    return None


async def _wake(connection: Connection, row: asyncpg.Record, now: datetime) -> None:
    await connection.execute(SQL.note_use, row["id"], SYSTEM_USER_ID, now)
    if row["dormant_at"] is not None:
        await _set_dormant(connection, row["id"], None, None)


async def _set_dormant(
    connection: Connection,
    workspace_id: UUID,
    dormant_at: datetime | None,
    deleting_at: datetime | None,
) -> None:
    await connection.execute(SQL.set_dormant, workspace_id, SYSTEM_USER_ID, dormant_at, deleting_at)


async def _set_deadlines(connection: Connection, row: asyncpg.Record, after: Deadlines) -> None:
    if after != _read_deadlines(row):
        await connection.execute(
            SQL.set_deadlines, row["id"], SYSTEM_USER_ID, after.deadline_at, after.max_deadline_at
        )


def _is_running(row: asyncpg.Record) -> bool:
    return row["latest_transition"] == "start" and row["latest_job_status"] == "succeeded"


def _read_deadlines(row: asyncpg.Record) -> Deadlines:
    return Deadlines(deadline_at=row["deadline_at"], max_deadline_at=row["max_deadline_at"])


def _read_facts(row: asyncpg.Record) -> WorkspaceFacts:
    cron = row["autostart_schedule"]
    return WorkspaceFacts(
        transition=row["latest_transition"],
        job_status=row["latest_job_status"],
        finished_at=row["latest_build_finished_at"],
        used_at=row["used_at"],
        is_owner_active=row["is_owner_active"],
        autostart=parse_autostart(cron, row["autostart_timezone"] or "") if cron else None,
        next_start_at=row["next_start_at"],
        deadline_at=row["deadline_at"],
        dormant_at=row["dormant_at"],
        deleting_at=row["deleting_at"],
    )
