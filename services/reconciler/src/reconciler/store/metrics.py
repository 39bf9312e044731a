"""What metrics are made of, counted by the database.

Promise: the step of a claim is handed out once, to one replica, so that sums over replicas are
right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.pools import ClaimStep, find_claim_steps
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries

__all__ = ["JobTotals", "Measures"]

SQL = load_queries("metrics")
SETTLED_AFTER = timedelta(seconds=2)
"""A step is measured once it is this old: transactions commit a little after the time they note."""


@dataclass(frozen=True, slots=True)
class JobTotals:
    """Jobs that have not ended."""

    pending: int = 0
    running: int = 0


class Measures:
    """Counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_jobs(self) -> JobTotals:
        """Jobs that wait and jobs in a worker's hands."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.count_jobs)
        assert row is not None
        return JobTotals(pending=row["pending"], running=row["running"])

    async def count_pool_misses(self) -> dict[str, int]:
        """Requests that no pool served, by reason."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.count_pool_misses)
        return {row["reason"]: row["total"] for row in rows}

    async def take_claim_steps(self, now: datetime) -> tuple[ClaimStep, ...]:
        """The steps of claims since anybody asked last; nobody gets them again."""
        until = now - SETTLED_AFTER

        async def work(connection: Connection) -> tuple[ClaimStep, ...]:
            moved = await connection.fetchrow(SQL.advance_claim_mark, until)
            assert moved is not None
            if moved["mark"] is None or not moved["has_moved"]:
                return ()
            rows = await connection.fetch(SQL.list_claim_steps, moved["mark"], until)
            return tuple(
                step
                for row in rows
                for step in find_claim_steps(tuple(row), after=moved["mark"], until=until)
            )

        return await self._database.transact(work)
