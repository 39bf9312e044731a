"""Snapshots of pools, as plans are made of.

Promises: a snapshot is of one moment; and that for a pass costs this process what the pass may do,
however many members pools have: who is not named is counted, by the database (ADR 0015).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.pools import BuildHistory, PoolSnapshot
from reconciler.store.db import Connection, Database
from reconciler.store.pool_rows import (
    foreign_organizations,
    read_histories,
    read_members,
    read_preset,
    sort_out,
)
from reconciler.store.queries import load_queries

__all__ = ["LOSSES_COUNT_FOR", "PoolSnapshots"]

SQL = load_queries("pools")
IN_THREAD_FROM = 500
"""From so many presets on, rows are sorted out beside the event loop."""
LOSSES_COUNT_FOR = 24
"""How many lookbacks a loss counts, unless a member proves the pool before. A line of losses grows
by one in a lookback or two at the slowest, because who is ready for longer is proven.
"""


class PoolSnapshots:
    """Takes snapshots."""

    def __init__(
        self, database: Database, *, agent_timeout: timedelta, failure_lookback: timedelta
    ) -> None:
        self._database = database
        self._agent_timeout = agent_timeout
        self._failure_lookback = failure_lookback

    async def load_snapshot(
        self,
        now: datetime,
        *,
        preset_ids: Sequence[UUID] | None = None,
        template: str = "",
        is_counted: bool = False,
    ) -> PoolSnapshot:
        """Pools at one moment: all of them, or those of some presets, or of templates of one name;
        with every member, or, if `is_counted`, with ready ones counted.
        """
        async with self._database.snapshot() as connection:
            around = await self._load_circumstances(connection, now)
            presets = await connection.fetch(
                SQL.load_presets, SYSTEM_USER_ID, preset_ids, template or None
            )
            is_part = preset_ids is not None or bool(template) or is_counted
            rows = await connection.fetch(
                SQL.load_members,
                SYSTEM_USER_ID,
                now - self._agent_timeout,
                [row["id"] for row in presets] if is_part else None,
                [0] * len(presets) if is_counted else None,
                0,
                now,
                None,
                None,
            )
            histories = await self._load_histories(connection, now)
        members, counted = read_members(rows)
        return PoolSnapshot(
            taken_at=now,
            paused=around["is_paused"],
            presets=tuple(map(read_preset, presets)),
            members=members,
            counted=counted,
            histories=histories,
            hearing_since=around["hearing_since"],
        )

    async def load_for_pass(
        self, now: datetime, *, deletions_max: int, reads_paused: bool = True
    ) -> PoolSnapshot:
        """Every pool at one moment, as a plan needs it that deletes at most `deletions_max`
        members: of pools at rest no member, of the others those it may name, the rest counted. None
        of them while everything is paused, unless it is asked for.
        """
        seen_after = now - self._agent_timeout
        async with self._database.snapshot() as connection:
            around = await self._load_circumstances(connection, now)
            if around["is_paused"] and not reads_paused:
                return PoolSnapshot(taken_at=now, presets=(), members=(), paused=True)
            presets = await connection.fetch(SQL.load_presets, SYSTEM_USER_ID, None, None)
            totals = await connection.fetch(SQL.load_totals, SYSTEM_USER_ID, seen_after)
            histories = await self._load_histories(connection, now)
            sort = partial(sort_out, presets, totals, histories, now, deletions_max)
            found = await asyncio.to_thread(sort) if len(presets) > IN_THREAD_FROM else sort()
            rows: list[asyncpg.Record] = []
            if found.reads or any(row["preset_id"] is None for row in totals):
                rows = await connection.fetch(
                    SQL.load_members,
                    SYSTEM_USER_ID,
                    seen_after,
                    list(found.reads),
                    [each.nameable for each in found.reads.values()],
                    deletions_max,
                    now,
                    [each.ready for each in found.reads.values()],
                    [each.newest_at for each in found.reads.values()],
                )
        members, counted = read_members(rows)
        return PoolSnapshot(
            taken_at=now,
            paused=around["is_paused"],
            presets=found.presets,
            members=members,
            counted=counted,
            histories=found.histories,
            resting=found.resting,
            hearing_since=around["hearing_since"],
            foreign_organization_ids=foreign_organizations(presets, around["organization_ids"]),
        )

    async def _load_circumstances(self, connection: Connection, now: datetime) -> asyncpg.Record:
        row = await connection.fetchrow(
            SQL.load_circumstances, SYSTEM_USER_ID, now - self._agent_timeout
        )
        assert row is not None
        return row

    async def _load_histories(
        self, connection: Connection, now: datetime
    ) -> tuple[BuildHistory, ...]:
        lookback = self._failure_lookback
        ends = await connection.fetch(SQL.load_histories, now - lookback)
        losses = await connection.fetch(
            SQL.load_losses, now - LOSSES_COUNT_FOR * lookback, lookback
        )
        return read_histories(ends, losses)
