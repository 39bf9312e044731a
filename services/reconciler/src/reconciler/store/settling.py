"""What the end of a build or a dry run means for claims, within the transaction that records it.

Promises: template admins are told once a day of claims that replaced what was warmed, and once of a
rehearsal that found it would; a claimant is told once a day that their claim failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.builds import describe_rehearsal, describe_replacements
from reconciler.core.notifications.keys import daily_key, once_key
from reconciler.core.notifications.kinds import Kind
from reconciler.store.db import Connection
from reconciler.store.events import tell_claimant, tell_of_pool
from reconciler.store.queries import load_queries

__all__ = ["fail_claim", "tell_of_rehearsal", "tell_of_replacements"]

SQL = load_queries("builds")


async def tell_of_replacements(
    connection: Connection,
    claim: asyncpg.Record,
    replacements: Sequence[tuple[str, Sequence[str]]],
    now: datetime,
) -> None:
    """Notes what a claim has replaced of what was warmed. `claim` has its `claim_id` and
    `claimed_preset_id`.
    """
    names = await connection.fetchrow(SQL.get_claim_names, claim["claim_id"])
    assert names is not None
    await tell_of_pool(
        connection,
        daily_key(Kind.CLAIM_RESOURCES_REPLACED, claim["claimed_preset_id"], now),
        claim["claimed_preset_id"],
        Kind.CLAIM_RESOURCES_REPLACED,
        describe_replacements(replacements, **names),
        now,
    )


async def fail_claim(
    connection: Connection, workspace_id: UUID, error: str, now: datetime, *, is_told: bool
) -> None:
    """Notes why a workspace's claim build failed; nothing for a workspace that has no claim to
    build. `is_told`: the claimant hears of it.
    """
    claim_id = await connection.fetchval(SQL.fail_claim, workspace_id, error)
    if claim_id is None or not is_told:
        return
    names = await connection.fetchrow(SQL.get_claim_names, claim_id)
    assert names is not None
    await tell_claimant(connection, claim_id, dict(names), error, now)


async def tell_of_rehearsal(
    connection: Connection,
    job_id: UUID,
    replacements: Sequence[tuple[str, Sequence[str]]],
    now: datetime,
) -> None:
    """Notes what a rehearsed claim would replace; nothing for any other dry run."""
    names = await connection.fetchrow(SQL.get_rehearsal_names, job_id)
    if names is None or not replacements:
        return
    await tell_of_pool(
        connection,
        once_key(Kind.CLAIM_WOULD_REPLACE, names["preset_id"]),
        names["preset_id"],
        Kind.CLAIM_WOULD_REPLACE,
        describe_rehearsal(
            replacements,
            template=names["template"],
            version=names["version"],
            preset=names["preset"],
        ),
        now,
    )
