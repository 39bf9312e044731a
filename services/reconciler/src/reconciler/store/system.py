"""The installation, as the database sees it."""

from __future__ import annotations

from datetime import datetime

from reconciler.core.checks import PostgresView, WorkerView
from reconciler.store.db import Database
from reconciler.store.queries import load_queries

__all__ = ["SystemViews"]

SQL = load_queries("system")


class SystemViews:
    """Reads what runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_postgres(self) -> PostgresView:
        """Versions and clock; raises Unavailable."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.get_postgres)
            assert row is not None
        return PostgresView(
            version=row["version"], now=row["now"], schema_version=row["schema_version"] or ""
        )

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
