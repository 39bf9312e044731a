"""Templates, their versions and what those offer.

Promises: a version and its import job appear together; the active version is always an imported one
of its own template; a push that finishes late does not take over from a version pushed after it;
every promotion and deletion is in the audit log, in the transaction that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import asyncpg

from reconciler.core.audit import Actor, read_trace_id
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.imports import require_importable, to_rows
from reconciler.core.jobs import JobKind
from reconciler.core.templates import (
    Archive,
    ImportedPreset,
    ImportResult,
    Push,
    TemplateView,
    VersionView,
)
from reconciler.store.audit import insert_audit
from reconciler.store.db import Connection, Database
from reconciler.store.jobs import SQL as JOBS
from reconciler.store.queries import load_queries
from reconciler.store.template_rows import read_template, read_version
from svckit.errors import AlreadyExists, FailedPrecondition, NotFound

__all__ = ["PushIds", "Templates", "finish_import", "promote"]

SQL = load_queries("templates")
VERSIONS_MAX = 1000  # in a listing


@dataclass(frozen=True, slots=True, kw_only=True)
class PushIds:
    """Fresh ids for what a push may make."""

    template_id: UUID
    version_id: UUID
    job_id: UUID


class Templates:
    """Reads and changes templates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, organization_ids: Sequence[UUID] | None, name: str | None = None
    ) -> tuple[TemplateView, ...]:
        """Templates by name; `organization_ids` None means those of all."""
        ids = None if organization_ids is None else [*organization_ids]
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_templates, ids, name)
        return tuple(map(read_template, rows))

    async def get(self, organization_id: UUID, name: str) -> TemplateView:
        """The template of that name; raises NotFound."""
        found = await self.list((organization_id,), name)
        if not found:
            raise _unknown_template(name)
        return found[0]

    async def list_versions(self, template_id: UUID) -> tuple[VersionView, ...]:
        """The newest versions, newest first, without their parameters and presets."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_versions, template_id, VERSIONS_MAX)
        return tuple(map(read_version, rows))

    async def find_version_id(self, template: TemplateView, name: str) -> UUID:
        """The version of that name; raises NotFound."""
        async with self._database.read() as connection:
            found = await connection.fetchrow(SQL.find_version_by_name, template.id, name)
        if found is None:
            raise _unknown_version(template.name, name)
        return found["id"]

    async def find_version(self, version_id: UUID) -> VersionView | None:
        """A version with its parameters and presets."""
        async with self._database.snapshot() as connection:
            row = await connection.fetchrow(SQL.find_version_by_id, version_id)
            if row is None:
                return None
            presets = await connection.fetch(SQL.list_version_presets, version_id)
        return read_version(row, presets)

    async def push(
        self,
        organization_id: UUID,
        push: Push,
        archive: Archive,
        author_id: UUID,
        ids: PushIds,
        *,
        traceparent: str,
        now: datetime,
    ) -> UUID:
        """Makes a version and queues its import; returns the template's id. Raises
        FailedPrecondition for another provisioner type, AlreadyExists for a name that is taken.
        """

        async def work(connection: Connection) -> UUID:
            await connection.execute(SQL.insert_archive, archive.sha256, archive.content, now)
            template = await connection.fetchrow(
                SQL.ensure_template,
                ids.template_id,
                organization_id,
                push.template,
                push.provisioner_type,
                dict(push.tags),
                now,
            )
            assert template is not None
            if template["provisioner_type"] != push.provisioner_type:
                raise FailedPrecondition(
                    f'header.provisioner_type: template "{push.template}" is of type'
                    f" {template['provisioner_type']}, not {push.provisioner_type}; a type cannot"
                    " change",
                    reason="PROVISIONER_TYPE_DIFFERS",
                    field="header.provisioner_type",
                )
            number = await connection.fetchval(SQL.next_version_number, template["id"])
            name = push.version or f"v{number}"
            made = await connection.fetchval(
                SQL.insert_version,
                ids.version_id,
                template["id"],
                name,
                ids.job_id,
                archive.sha256,
                push.is_promoted,
                push.message,
                author_id,
                now,
            )
            if made is None:
                raise AlreadyExists(
                    f'header.version: template "{push.template}" has a version "{name}" already;'
                    " choose another name, or none for the next vN",
                    reason="VERSION_NAME_TAKEN",
                    field="header.version",
                )
            await connection.execute(
                JOBS.insert_job,
                ids.job_id,
                organization_id,
                JobKind.IMPORT.value,
                push.provisioner_type,
                template["provisioner_tags"],
                ids.version_id,
                author_id,
                False,
                {},
                traceparent,
                now,
            )
            actor = Actor(
                user_id=author_id, audit_id=ids.version_id, trace_id=read_trace_id(traceparent)
            )
            entry = actor.entry(
                "template.push",
                "template",
                template["id"],
                organization_id=organization_id,
                template=push.template,
                version=name,
                version_id=str(ids.version_id),
                promote=push.is_promoted,
            )
            await insert_audit(connection, entry, now)
            return template["id"]

        return await self._database.transact(work)

    async def promote_version(
        self, template: TemplateView, version: str, actor: Actor, now: datetime
    ) -> tuple[UUID, ...]:
        """Makes an imported version the active one; returns the pools that are affected, none if it
        was active. Raises NotFound or FailedPrecondition.
        """

        async def work(connection: Connection) -> tuple[UUID, ...]:
            if await connection.fetchrow(SQL.hold_for_promotion, template.id) is None:
                raise _unknown_template(template.name)
            found = await connection.fetchrow(SQL.find_version_by_name, template.id, version)
            if found is None:
                raise _unknown_version(template.name, version)
            if found["imported_at"] is None:
                raise FailedPrecondition(
                    f'version: "{version}" is not imported, its import job is {found["status"]};'
                    " only an imported version can be active",
                    reason="VERSION_NOT_IMPORTED",
                    field="version",
                )
            return await promote(connection, template.id, found["id"], actor, now)

        return await self._database.transact(work)

    async def delete(self, template: TemplateView, actor: Actor, now: datetime) -> tuple[UUID, ...]:
        """Retires a template; returns its active pools, which drain. Raises NotFound, or
        FailedPrecondition while people have workspaces of it.
        """

        async def work(connection: Connection) -> tuple[UUID, ...]:
            held = await connection.fetchrow(SQL.hold_for_deletion, template.id)
            if held is None:
                raise _unknown_template(template.name)
            count = await connection.fetchval(
                SQL.count_workspaces_of_people, template.id, SYSTEM_USER_ID
            )
            if count:
                raise FailedPrecondition(
                    f'template: people have {count} workspaces of "{template.name}"; they must be'
                    " deleted first",
                    reason="TEMPLATE_IN_USE",
                    field="template",
                )
            await connection.execute(SQL.delete_template, template.id, now)
            await _audit(connection, "template.delete", held, actor, {}, now)
            return await _list_pools(connection, held["active_version_id"])

        return await self._database.transact(work)


async def finish_import(
    connection: Connection, version_id: UUID, result: ImportResult, now: datetime
) -> tuple[UUID, ...]:
    """Keeps what an import found, within the transaction that ends its job, and makes the version
    active if its author asked for that. Returns the pools that are affected. Raises InvalidArgument
    if the template asks or offers what cannot be kept.
    """
    require_importable(result, now)
    version = await connection.fetchrow(
        SQL.finish_version, version_id, to_rows(result.parameters), [*result.agent_names], now
    )
    if version is None:
        raise NotFound(f"there is no template version {version_id}", reason="VERSION_UNKNOWN")
    for preset in result.presets:
        await _insert_preset(connection, version_id, preset)
    if not version["promote_on_success"]:
        return ()
    held = await connection.fetchrow(SQL.hold_for_promotion, version["template_id"])
    if held is None:
        return ()  # deleted meanwhile
    if await connection.fetchval(SQL.is_newer, held["active_version_id"], version["created_at"]):
        return ()  # a later push was faster
    actor = Actor(user_id=version["created_by"], audit_id=uuid5(version_id, "promotion on import"))
    return await promote(connection, held["id"], version_id, actor, now)


async def promote(
    connection: Connection, template_id: UUID, version_id: UUID, actor: Actor, now: datetime
) -> tuple[UUID, ...]:
    """Makes an imported version the active one of its template. Returns the pools that fill or
    drain for it; none if it was active.
    """
    held = await connection.fetchrow(SQL.hold_for_promotion, template_id)
    if held is None or held["active_version_id"] == version_id:
        return ()
    await connection.execute(SQL.set_active_version, template_id, version_id)
    details = {"version_id": str(version_id), "before": _text(held["active_version_id"])}
    await _audit(connection, "template.promote", held, actor, details, now)
    return await _list_pools(connection, held["active_version_id"], version_id)


async def _insert_preset(connection: Connection, version_id: UUID, preset: ImportedPreset) -> None:
    pool = preset.prebuilds
    await connection.execute(
        SQL.insert_preset,
        uuid5(version_id, preset.name),
        version_id,
        preset.name,
        preset.is_default,
        preset.description,
        preset.icon,
        dict(preset.parameters),
        None if pool is None else pool.instances,
        0 if pool is None else pool.ttl_seconds,
        "" if pool is None else pool.timezone,
        [] if pool is None else [asdict(schedule) for schedule in pool.schedules],
    )


async def _list_pools(connection: Connection, *version_ids: UUID | None) -> tuple[UUID, ...]:
    rows = await connection.fetch(SQL.list_pool_presets, [v for v in version_ids if v])
    return tuple(row["id"] for row in rows)


async def _audit(
    connection: Connection,
    action: str,
    template: asyncpg.Record,
    actor: Actor,
    details: dict[str, Any],
    now: datetime,
) -> None:
    entry = actor.entry(
        action,
        "template",
        template["id"],
        organization_id=template["organization_id"],
        template=template["name"],
        **details,
    )
    await insert_audit(connection, entry, now)


def _unknown_template(name: str) -> NotFound:
    return NotFound(
        f'template: there is no template "{name}"', reason="TEMPLATE_UNKNOWN", field="template"
    )


def _unknown_version(template: str, name: str) -> NotFound:
    return NotFound(
        f'version: template "{template}" has no version "{name}"',
        reason="VERSION_UNKNOWN",
        field="version",
    )


def _text(value: UUID | None) -> str:
    return "" if value is None else str(value)
