"""How much somebody may have: the count that no other request changes while it is looked at.

Promise: however many requests for one person come at once, on however many replicas, they are
looked at one after the other. Each holds a connection meanwhile and needs another for its work,
so only a few are let in at once, and of one person only one: however much somebody asks for, they
keep nobody else waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from reconciler.store.db import Database
from reconciler.store.queries import load_queries

__all__ = ["Quotas"]

SQL = load_queries("people")
SHARE: Final = 4
"""One of so many connections may wait here."""


class Quotas:
    """Counts what people have."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slots = asyncio.Semaphore(max(1, database.pool_max // SHARE))
        # Of those who are let in or wait; each goes with the last who does.
        self._turns: WeakValueDictionary[tuple[UUID, UUID], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, owner_id: UUID, organization_id: UUID) -> AsyncGenerator[int]:
        """How many workspaces somebody has in an organization; nobody makes another of theirs
        there before the body ends.
        """
        turn = self._turns.setdefault((owner_id, organization_id), asyncio.Lock())
        async with (
            turn,  # before a slot, so that who waits for themselves holds none
            self._slots,
            self._database.read() as connection,
            connection.transaction(),
        ):
            await connection.execute(SQL.lock_quota, owner_id, organization_id)
            yield await connection.fetchval(SQL.count_owned, owner_id, organization_id)
