"""Notes what somebody should know, in the transaction of the deed: once for each key.

Whoever is told, and how, is planned later (`store/notifications.py`), so that a deed waits for
nobody's mail server.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from reconciler.core.notifications.keys import daily_key, missing_key
from reconciler.core.notifications.kinds import Kind
from reconciler.store.db import Connection
from reconciler.store.queries import load_queries

__all__ = ["tell_claimant", "tell_of_pool", "tell_of_untaken_jobs"]

SQL = load_queries("notifications")
ERROR_CHARS_MAX = 2_000
SORTS_MAX = 50
"""Of jobs that nobody takes, in one look."""


async def tell_of_pool(
    connection: Connection, key: str, preset_id: UUID, kind: Kind, message: str, now: datetime
) -> None:
    """Tells those who look after a pool's templates."""
    await connection.execute(SQL.notify_of_pool, key, preset_id, kind.value, message, now)


async def tell_claimant(
    connection: Connection, claim_id: UUID, names: Mapping[str, str], error: str, now: datetime
) -> None:
    """Tells a claimant that the build of their claim failed, once a day."""
    kind = Kind.CLAIM_FAILED
    message = (
        f'The claim of workspace "{names["workspace"]}" (template "{names["template"]}") failed:'
        f" {error[:ERROR_CHARS_MAX]}"
    )
    key = daily_key(kind, claim_id, now)
    await connection.execute(
        SQL.notify_of_claim, key, claim_id, kind.value, message, dict(names), now
    )


async def tell_of_untaken_jobs(
    connection: Connection, waiting_since: datetime, seen_since: datetime, now: datetime
) -> int:
    """Tells, once a day for each sort of job, that no provisioner takes it; returns how many sorts
    wait now.
    """
    rows = await connection.fetch(SQL.list_untaken_jobs, waiting_since, seen_since, SORTS_MAX)
    for row in rows:
        tags = ", ".join(f"{name}={value}" for name, value in sorted(row["tags"].items()))
        minutes = int((now - row["since"]).total_seconds() // 60)
        facts = {"provisioner_type": row["provisioner_type"], "tags": tags}
        message = (
            f'{row["jobs"]} jobs for provisioners of type "{row["provisioner_type"]}" with'
            f" {f'the tags {tags}' if tags else 'any tags'} wait, the oldest for {minutes} minutes."
            " No provisioner that could take them is connected."
        )
        key = missing_key(row["organization_id"], row["provisioner_type"], row["tags"], now)
        await connection.execute(
            SQL.notify_of_organization,
            key,
            row["organization_id"],
            Kind.PROVISIONERS_MISSING.value,
            message,
            facts,
            now,
        )
    return len(rows)
