"""Pools: the snapshots plans are made of, and the small transactions that carry one out.

Promises: every change re-reads what it is about to change, so that a workspace which changed hands
since the snapshot was taken is left alone; a cancelled creation and its workspace go together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reconciler.core.audit import AuditEntry
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.jobs import JobStatus
from reconciler.core.notifications.keys import once_key
from reconciler.core.notifications.kinds import Kind
from reconciler.core.pools import PoolHealth, PoolPause
from reconciler.store.audit import insert_audit
from reconciler.store.claims import NewIds, Wanted, insert_workspace
from reconciler.store.db import Connection
from reconciler.store.events import tell_of_pool
from reconciler.store.pool_snapshots import PoolSnapshots
from reconciler.store.queries import load_queries
from reconciler.store.workspaces import QueuedBuild, insert_build
from svckit.errors import NotFound

__all__ = ["CreationFence", "PoolTotals", "Pools"]

SQL = load_queries("pools")
BUILDS = load_queries("builds")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationFence:
    """Holds a creation to the snapshot it was planned by: since then at most `newcomers_max`
    members may be made, by whomever. So two who plan at once, because one of them lost its lock and
    has not noticed, create no more than one of them would have.
    """

    members_made: int
    newcomers_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTotals:
    """What pools of one template and preset name have done so far."""

    template_name: str
    preset_name: str
    organization_name: str
    created: int
    failed: int
    claimed: int
    resource_replacements: int = 0


class Pools(PoolSnapshots):
    """Reads and changes pools."""

    async def join_organizations(self, organization_ids: Sequence[UUID], now: datetime) -> int:
        """Makes the pool's user a member where it is not one; returns where it became one."""
        async with self._database.read() as connection:
            return _count(
                await connection.execute(
                    SQL.join_organizations, list(organization_ids), SYSTEM_USER_ID, now
                )
            )

    async def create_prebuild(
        self,
        preset_id: UUID,
        ids: NewIds,
        name: str,
        now: datetime,
        *,
        fence: CreationFence | None = None,
        traceparent: str = "",
    ) -> QueuedBuild | None:
        """Queues a new member; None if its version is no longer active, its pool has stopped, or
        the fence says that there are enough.
        """

        async def work(connection: Connection) -> QueuedBuild | None:
            preset = await connection.fetchrow(SQL.check_creatable, preset_id)
            if preset is None:
                return None
            if fence is not None:
                newcomers = preset["members_made"] - fence.members_made
                if newcomers >= fence.newcomers_max:
                    return None
            await connection.execute(SQL.count_member_made, preset_id)
            wanted = Wanted(
                organization_id=preset["organization_id"],
                template_id=preset["template_id"],
                version_id=preset["version_id"],
                preset_id=preset_id,
                owner_id=SYSTEM_USER_ID,
                initiator_id=SYSTEM_USER_ID,
                name=name,
                parameters=preset["parameters"],
                request_id=None,
                requested_at=now,
                traceparent=traceparent,
            )
            provisioner_type = await insert_workspace(connection, wanted, ids, now=now)
            return QueuedBuild(
                job_id=ids.job_id,
                organization_id=preset["organization_id"],
                provisioner_type=provisioner_type,
            )

        return await self._database.transact(work)

    async def delete_prebuild(
        self, workspace_id: UUID, reason: str, ids: NewIds, now: datetime
    ) -> QueuedBuild | None:
        """Queues a member's deletion; None if it is not the pool's any more or has a build under
        way.
        """

        async def work(connection: Connection) -> QueuedBuild | None:
            row = await connection.fetchrow(BUILDS.lock_workspace, workspace_id)
            if (
                row is None
                or row["owner_id"] != SYSTEM_USER_ID
                or row["deleted_at"] is not None
                or not JobStatus(row["latest_job_status"]).is_final
            ):
                return None
            return await insert_build(
                connection,
                row,
                transition="delete",
                version_id=row["latest_template_version_id"],
                parameters=row["parameters"],
                initiator_id=SYSTEM_USER_ID,
                reason=reason,
                is_system=True,
                build_id=ids.build_id,
                job_id=ids.job_id,
                now=now,
            )

        return await self._database.transact(work)

    async def cancel_creations(self, workspace_ids: Sequence[UUID], now: datetime) -> int:
        """Cancels creations no worker has picked up, and removes them; returns how many."""

        async def work(connection: Connection) -> int:
            rows = await connection.fetch(
                SQL.cancel_creations, list(workspace_ids), SYSTEM_USER_ID, now
            )
            return len(rows)

        return await self._database.transact(work)

    async def mark_health(
        self, preset_id: UUID, health: PoolHealth, *, message: str, now: datetime
    ) -> bool:
        """Notes a pool's health and tells its admins the first time; returns whether it was
        news.
        """

        async def work(connection: Connection) -> bool:
            changed = await connection.fetchrow(SQL.mark_health, preset_id, health.value, message)
            if changed is None:
                return False
            if message:
                kind = Kind(f"pool.{health.value}")
                key = once_key(kind, preset_id)
                await tell_of_pool(connection, key, preset_id, kind, message, now)
            return True

        return await self._database.transact(work)

    async def find_template(
        self, name: str, organization_ids: Sequence[UUID] | None
    ) -> tuple[UUID, UUID]:
        """A template's id and organization by name; raises NotFound."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(
                SQL.find_template_id,
                name,
                None if organization_ids is None else list(organization_ids),
            )
        if row is None:
            raise NotFound(
                f'template: there is no template "{name}"',
                reason="TEMPLATE_UNKNOWN",
                field="template",
            )
        return row["id"], row["organization_id"]

    async def find_presets(self, template_id: UUID, preset: str) -> tuple[UUID, ...]:
        """Pools of the active version, all or one by name; raises NotFound for a name without a
        pool.
        """
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.find_pool_preset, template_id, preset)
        if not rows and preset:
            raise NotFound(
                f'preset: the active version has no pool "{preset}"',
                reason="POOL_UNKNOWN",
                field="preset",
            )
        return tuple(r["id"] for r in rows)

    async def set_paused(self, paused: bool, now: datetime, audit: AuditEntry | None = None) -> int:
        """Pauses or resumes everything; returns 1 if that changed anything."""

        async def change(connection: Connection) -> int:
            return _count(await connection.execute(SQL.set_paused, paused, now))

        return await self._change(change, audit, now)

    async def set_preset_paused(
        self,
        template_id: UUID,
        preset: str,
        paused: bool,
        actor_id: UUID,
        now: datetime,
        audit: AuditEntry | None = None,
    ) -> int:
        """Pauses or resumes one pool, or with an empty name all of the template; returns how many
        changed.
        """

        async def change(connection: Connection) -> int:
            if paused:
                return _count(
                    await connection.execute(SQL.pause_presets, template_id, preset, actor_id, now)
                )
            return int(await connection.fetchval(SQL.resume_presets, template_id, preset))

        return await self._change(change, audit, now)

    async def invalidate(
        self, preset_ids: Sequence[UUID], now: datetime, audit: AuditEntry | None = None
    ) -> int:
        """Marks present members for replacement; returns how many."""

        async def change(connection: Connection) -> int:
            return _count(
                await connection.execute(
                    SQL.invalidate_members, list(preset_ids), SYSTEM_USER_ID, now
                )
            )

        return await self._change(change, audit, now)

    async def resume(self, preset_id: UUID, now: datetime, audit: AuditEntry | None = None) -> bool:
        """Lets a pool at its hard limit try one build; returns whether it was at its limit. What
        validation refused waits for a new version.
        """

        async def change(connection: Connection) -> int:
            return _count(await connection.execute(SQL.resume_pool, preset_id, now))

        return await self._change(change, audit, now) > 0

    async def _change(
        self,
        change: Callable[[Connection], Awaitable[int]],
        audit: AuditEntry | None,
        now: datetime,
    ) -> int:
        """Makes a change; if it changed anything, the deed is kept in the same transaction."""

        async def work(connection: Connection) -> int:
            count = await change(connection)
            if audit is not None and count:
                await insert_audit(connection, audit, now)
            return count

        return await self._database.transact(work)

    async def last_errors(self, preset_ids: Sequence[UUID]) -> dict[UUID, str]:
        """Why each pool's newest first build failed; pools whose newest went well are left out."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.last_errors, list(preset_ids))
        return {r["preset_id"]: r["error"] for r in rows if r["error"]}

    async def list_pauses(self, template_ids: Sequence[UUID]) -> dict[tuple[UUID, str], PoolPause]:
        """Who paused what, by template and preset name; an empty name is all of the template."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_pauses, list(template_ids))
        return {
            (row["template_id"], row["preset_name"]): PoolPause(row["username"], row["paused_at"])
            for row in rows
        }

    async def totals(self) -> tuple[PoolTotals, ...]:
        """What pools have done so far."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.count_claimed)
        return tuple(PoolTotals(**dict(r)) for r in rows)


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
