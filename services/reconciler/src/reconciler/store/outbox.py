"""The outbox: what a committed transaction promised to say on the bus, said at least once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries

__all__ = ["BATCH_MAX", "Outbox"]

SQL = load_queries("outbox")
BATCH_MAX = 200


class Outbox:
    """Hands rows to whoever publishes, and forgets them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def drain(self, say: Callable[[Sequence[tuple[str, bytes]]], Awaitable[None]]) -> int:
        """Has a batch of subjects and payloads said; its rows go only once `say` has returned.
        Returns how many.
        """

        async def work(connection: Connection) -> int:
            rows = await connection.fetch(SQL.take_outbox, BATCH_MAX)
            if rows:
                ordered = sorted(rows, key=lambda r: r["id"])
                await say([(row["subject"], row["payload"]) for row in ordered])
            return len(rows)

        return await self._database.transact(work)

    async def forget(self, ids: Sequence[int]) -> None:
        """Removes rows that have been said; those that are gone already do no harm."""
        async with self._database.read() as connection:
            await connection.execute(SQL.delete_outbox, list(ids))
