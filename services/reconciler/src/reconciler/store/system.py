"""The installation, as the database sees it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from reconciler.core.checks import InstanceView, ManifestsView, WorkerView
from reconciler.core.postgres_checks import PostgresView
from reconciler.store.cipher import MARK
from reconciler.store.db import Database
from reconciler.store.queries import load_queries
from svckit.certificates import Certificate

__all__ = ["SystemViews"]

SQL = load_queries("system")
INSTANCES_MAX: Final = 1_000
"""Of one key, and in one list."""


class SystemViews:
    """Reads and notes what runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_postgres(self) -> PostgresView:
        """Versions, clock and settings; raises Unavailable."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.get_postgres)
            assert row is not None
        fields: dict[str, Any] = dict(row)
        fields["schema_version"] = fields["schema_version"] or ""
        return PostgresView(**fields)

    async def get_manifests(self) -> ManifestsView:
        """How agents' manifests are stored; raises Unavailable."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.get_manifests, MARK)
            assert row is not None
        return ManifestsView(are_sealed=row["are_sealed"], plain=row["plain"])

    async def list_workers(self, seen_after: datetime) -> tuple[WorkerView, ...]:
        """Provisioners seen since, by name; raises Unavailable."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_workers, seen_after)
        return tuple(
            WorkerView(
                id=row["id"],
                name=row["name"],
                version=row["version"],
                provisioner_types=tuple(row["provisioner_types"]),
                tags=row["tags"],
                last_seen_at=row["last_seen_at"],
            )
            for row in rows
        )

    async def list_instances(self, seen_after: datetime) -> tuple[InstanceView, ...]:
        """Processes seen since, by sort and name, 1,000 at most; raises Unavailable."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_instances, seen_after, INSTANCES_MAX)
        return tuple(_read_instance(row) for row in rows)

    async def note_instance(self, instance: InstanceView, key_id: UUID | None) -> None:
        """Stores what a process says of itself, who has this key, or None for the control plane.
        Nobody changes what others say, and those of a key that were silent for longest go once it
        has more than 1,000. Raises Unavailable.
        """
        async with self._database.read() as connection:
            is_new = await connection.fetchval(
                SQL.upsert_instance,
                instance.id,
                instance.service,
                instance.name,
                instance.version,
                instance.clock_skew_seconds,
                instance.problems,
                instance.programs,
                instance.last_seen_at,
                key_id,
                [_encode_certificate(each) for each in instance.certificates],
            )
            if is_new and key_id is not None:
                await connection.execute(SQL.trim_instances, key_id, INSTANCES_MAX)

    async def forget_instances(self, seen_before: datetime) -> None:
        """Removes those long gone; raises Unavailable."""
        async with self._database.read() as connection:
            await connection.execute(SQL.delete_instances, seen_before)


def _read_instance(row: asyncpg.Record) -> InstanceView:
    fields: dict[str, Any] = dict(row)
    fields["problems"] = tuple(fields["problems"])
    fields["certificates"] = tuple(map(_read_certificate, fields["certificates"]))
    return InstanceView(**fields)


def _encode_certificate(certificate: Certificate) -> dict[str, Any]:
    end = certificate.ends_at
    return {**asdict(certificate), "ends_at": end and end.isoformat()}


def _read_certificate(stored: dict[str, Any]) -> Certificate:
    """A newer release may have written more."""
    end: str | None = stored["ends_at"]
    return Certificate(
        setting=stored["setting"],
        issuer=stored["issuer"],
        names=tuple(stored["names"]),
        ends_at=datetime.fromisoformat(end) if end else None,
        problem=stored["problem"],
    )
