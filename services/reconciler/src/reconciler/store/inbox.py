"""Inboxes, preferences, and the queue of deliveries as people see it.

Promises: nobody's inbox is read or changed for anybody else; a change of an address or a
preference, and a request to try dead deliveries again, is in the audit log if it changed anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.audit import Actor
from reconciler.core.notifications.fanout import Target
from reconciler.core.notifications.kinds import Channel, Kind
from reconciler.core.notifications.views import DeliveryView, InboxView
from reconciler.core.notifications.wording import Rendered, render
from reconciler.core.people import UserView
from reconciler.store.audit import insert_audit
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from svckit.errors import NotFound

__all__ = ["Inboxes"]

SQL = load_queries("inbox")


class Inboxes:
    """Reads and changes what people see of notifications."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, user_id: UUID, before: tuple[datetime, UUID] | None, limit: int, *, unread: bool
    ) -> tuple[tuple[InboxView, ...], int]:
        """A page of somebody's inbox, and how much of it is unread in all."""
        moment, below = before or (None, None)
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_inbox, user_id, unread, moment, below, limit)
            count = await connection.fetchval(SQL.count_unread, user_id)
        found = tuple(
            InboxView(
                id=r["id"],
                kind=r["kind"],
                words=_words(r),
                organization=r["organization"],
                created_at=r["created_at"],
                read_at=r["read_at"],
            )
            for r in rows
        )
        return found, count

    async def mark_read(self, user_id: UUID, ids: Sequence[UUID], now: datetime) -> int:
        """Marks these, or with none given everything; returns how many were unread. Raises NotFound
        for what is not in this inbox, and marks nothing then.
        """

        async def work(connection: Connection) -> int:
            wanted = list(set(ids))
            if wanted and await connection.fetchval(SQL.count_own, user_id, wanted) < len(wanted):
                raise NotFound(
                    "ids: not all of them are in your inbox", reason="MESSAGE_UNKNOWN", field="ids"
                )
            tag = await connection.execute(SQL.mark_read, user_id, wanted or None, now)
            return int(tag.rpartition(" ")[2])

        return await self._database.transact(work)

    async def get_preferences(self, user_id: UUID) -> dict[tuple[str, str], bool]:
        """What somebody said, by kind and channel."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_preferences, user_id)
        return {(r["kind"], r["channel"]): r["is_on"] for r in rows}

    async def set_preference(
        self,
        user: UserView,
        kinds: Sequence[Kind],
        channel: Channel,
        actor: Actor,
        now: datetime,
        *,
        is_on: bool,
    ) -> None:
        """Keeps what somebody wants of these kinds on a channel."""

        async def work(connection: Connection) -> None:
            changed = [
                kind.value
                for kind in sorted(kinds)
                if await connection.fetchval(
                    SQL.set_preference, user.id, kind.value, channel.value, is_on
                )
            ]
            if changed:
                entry = actor.entry(
                    "notification.set_preference",
                    "user",
                    user.id,
                    username=user.username,
                    kinds=changed,
                    channel=channel.value,
                    on=is_on,
                )
                await insert_audit(connection, entry, now)

        await self._database.transact(work)

    async def get_address(self, user_id: UUID) -> str:
        """Where somebody's mail goes; empty means nowhere."""
        async with self._database.read() as connection:
            return await connection.fetchval(SQL.get_address, user_id) or ""

    async def set_address(self, user: UserView, email: str, actor: Actor, now: datetime) -> None:
        """Sends somebody's mail there from now on; empty means to the address of their account,
        which only owners set: templates see it.
        """

        async def work(connection: Connection) -> None:
            if await connection.fetchval(SQL.set_address, user.id, email) is None:
                return
            entry = actor.entry(
                "notification.set_address", "user", user.id, username=user.username, email=email
            )
            await insert_audit(connection, entry, now)

        await self._database.transact(work)

    async def list_deliveries(
        self, before: tuple[datetime, UUID] | None, limit: int, *, status: str, channel: str
    ) -> tuple[DeliveryView, ...]:
        """A page of deliveries, newest first; an empty status or channel means any."""
        moment, below = before or (None, None)
        async with self._database.read() as connection:
            rows = await connection.fetch(
                SQL.list_deliveries, status, channel, moment, below, limit
            )
        return tuple(
            DeliveryView(
                id=r["id"],
                kind=r["kind"],
                words=_words(r),
                channel=r["channel"],
                recipient=r["recipient"],
                status=r["status"],
                attempts=r["attempts"],
                error=r["error"],
                created_at=r["created_at"],
                due_at=r["due_at"],
                finished_at=r["finished_at"],
            )
            for r in rows
        )

    async def retry(
        self,
        ids: Sequence[UUID] | None,
        targets: Sequence[Target],
        actor: Actor,
        now: datetime,
    ) -> int:
        """Lets dead deliveries be tried again, these or all; returns how many. `targets` are the
        sinks there are: what was for another goes to those of its channel.
        """
        channels = [target.channel.value for target in targets]
        names = [target.name for target in targets]

        async def work(connection: Connection) -> int:
            wanted = None if ids is None else list(ids)
            revived = await connection.fetch(SQL.revive_deliveries, wanted, now, channels, names)
            if revived:
                entry = actor.entry("notification.retry", "notification", "*", count=len(revived))
                await insert_audit(connection, entry, now)
            return len(revived)

        return await self._database.transact(work)


def _words(r: asyncpg.Record) -> Rendered:
    return render(r["kind"], r["message"], r["organization"], r["facts"])
