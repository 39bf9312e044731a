"""The audit log."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.audit import AuditEntry, AuditRecord
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries

__all__ = ["AuditLog", "insert_audit"]

SQL = load_queries("workspaces")
PEOPLE = load_queries("people")


async def insert_audit(connection: Connection, entry: AuditEntry, now: datetime) -> None:
    """Keeps one deed, in the caller's transaction if there is one."""
    await connection.execute(
        SQL.insert_audit,
        entry.id,
        now,
        entry.actor_id,
        entry.action,
        entry.target_kind,
        entry.target_id,
        entry.organization_id,
        entry.details,
        entry.trace_id,
    )


class AuditLog:
    """Reads who did what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, before: tuple[datetime, UUID] | None, limit: int
    ) -> tuple[AuditRecord, ...]:
        """Deeds, newest first, from below where a page ended."""
        happened_at, below = before or (None, None)
        async with self._database.read() as connection:
            rows = await connection.fetch(PEOPLE.list_audit, happened_at, below, limit)
        return tuple(map(_read_record, rows))


def _read_record(r: asyncpg.Record) -> AuditRecord:
    return AuditRecord(
        happened_at=r["happened_at"],
        actor=r["actor"],
        entry=AuditEntry(
            id=r["id"],
            actor_id=r["actor_id"],
            action=r["action"],
            target_kind=r["target_kind"],
            target_id=r["target_id"],
            organization_id=r["organization_id"],
            details=r["details"],
            trace_id=r["trace_id"],
        ),
    )
