"""Removes what is older than an operator wants to keep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from reconciler.store.db import Database
from reconciler.store.queries import load_queries

__all__ = ["KINDS", "Retention"]

SQL = load_queries("retention")

_DELETES: Final[Mapping[str, str]] = {
    "job_logs": SQL.delete_job_logs,
    "agent_logs": SQL.delete_agent_logs,
    "audit_log": SQL.delete_audit_entries,
    "notification_deliveries": SQL.delete_deliveries,
}
KINDS: Final = tuple(_DELETES)
"""What is kept for so long and no longer, by the name of its table."""


class Retention:
    """Deletes in batches, each in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete(self, kind: str, older_than: datetime, limit: int) -> int:
        """Deletes at most `limit` rows of a kind; returns how many. Raises Unavailable."""
        async with self._database.read() as connection:
            done = await connection.execute(_DELETES[kind], older_than, limit)
        return int(done.rpartition(" ")[2])
