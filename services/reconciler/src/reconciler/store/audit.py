"""The audit log."""

from __future__ import annotations

from datetime import datetime

from reconciler.core.audit import AuditEntry
from reconciler.store.db import Connection
from reconciler.store.queries import load_queries

__all__ = ["insert_audit"]

SQL = load_queries("workspaces")


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
