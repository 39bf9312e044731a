"""Dry runs that people ask for, and what they found.

Promises: all dry runs of one request are queued together; one that plans a claim does so upon a
prebuild that was there when it was queued, and is not disturbed by that prebuild's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.dryruns import Asked, CheckView, from_row, judge_end, require_room
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from svckit.errors import NotFound

__all__ = ["SQL", "Checks"]

SQL = load_queries("checks")


class Checks:
    """Queues and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queue(
        self,
        version_id: UUID,
        initiator_id: UUID,
        asked: Sequence[tuple[UUID, Asked]],
        *,
        traceparent: str,
        now: datetime,
    ) -> tuple[CheckView, ...]:
        """Queues dry runs, each under the id beside it. Raises NotFound if the template was
        deleted meanwhile, ResourceExhausted if too many would wait.
        """

        async def work(connection: Connection) -> tuple[CheckView, ...]:
            organization_id = await connection.fetchval(SQL.lock_organization, version_id)
            waiting = await connection.fetchval(SQL.count_waiting_checks, organization_id)
            require_room(waiting, len(asked))
            for job_id, each in asked:
                queued = await connection.fetchval(
                    SQL.queue_check,
                    job_id,
                    version_id,
                    initiator_id,
                    each.parameters,
                    each.preset,
                    each.pool_id,
                    SYSTEM_USER_ID,
                    traceparent,
                    now,
                )
                if queued is None:
                    raise NotFound(
                        "template: it was deleted meanwhile",
                        reason="TEMPLATE_UNKNOWN",
                        field="template",
                    )
            return await _list(connection, [job_id for job_id, _ in asked])

        return await self._database.transact(work)

    async def find(self, job_id: UUID) -> CheckView | None:
        """A dry run."""
        async with self._database.read() as connection:
            return next(iter(await _list(connection, [job_id])), None)


async def _list(connection: Connection, job_ids: Sequence[UUID]) -> tuple[CheckView, ...]:
    return tuple(map(_read, await connection.fetch(SQL.list_checks, list(job_ids))))


def _read(row: asyncpg.Record) -> CheckView:
    status, error = judge_end(row["status"], row["error"], row["result"])
    return CheckView(
        job_id=row["id"],
        organization_id=row["organization_id"],
        provisioner_type=row["provisioner_type"],
        preset=row["result"].get("preset", ""),
        prebuild=row["result"].get("prebuild", ""),
        status=status,
        error=error,
        findings=from_row(row["result"]),
    )
