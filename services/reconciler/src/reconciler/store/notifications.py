"""The queue of deliveries: planned once for each event, sent at least once, by one replica at a
time.

Promises: an event's deliveries are planned together or not at all; a delivery is leased, so nobody
holds a connection while it is sent; an attempt whose end nobody reports is repeated when its lease
ends, under the same id; the end of an attempt that a later one has overtaken changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from reconciler.core.notifications.fanout import Event, Person, Target, plan_fan_out
from reconciler.core.notifications.retries import Bury, Conclude, Decision, Drop, TryAgain
from reconciler.core.notifications.sinks import Message
from reconciler.core.notifications.wording import render
from reconciler.store.db import Connection, Database
from reconciler.store.events import tell_of_untaken_jobs
from reconciler.store.queries import load_queries

__all__ = ["DeliveryCount", "Leased", "NotificationQueue"]

SQL = load_queries("notifications")
EVENTS_MAX: Final = 50
"""In one transaction of planning."""
NO_SINK: Final = "no such sink any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A delivery in somebody's hands, and the attempt that is the fence."""

    message: Message
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCount:
    """How many deliveries of a channel are in a status, "pending" or "dead"."""

    channel: str
    status: str
    count: int


class NotificationQueue:
    """Plans, leases and ends deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look_for_untaken_jobs(self, waited: timedelta, seen: timedelta, now: datetime) -> int:
        """Tells of jobs that have waited so long without a provisioner seen within `seen`; returns
        how many sorts there are.
        """

        async def work(connection: Connection) -> int:
            return await tell_of_untaken_jobs(connection, now - waited, now - seen, now)

        return await self._database.transact(work)

    async def fan_out(
        self, targets: Sequence[Target], new_id: Callable[[], UUID], now: datetime
    ) -> int:
        """Plans the deliveries of the oldest events; returns how many events those were."""

        async def work(connection: Connection) -> int:
            rows = await connection.fetch(SQL.take_events, EVENTS_MAX)
            if not rows:
                return 0
            named = [r["recipient_id"] for r in rows if r["recipient_id"] is not None]
            people = await connection.fetch(
                SQL.list_people, [r["organization_id"] for r in rows], named
            )
            planned = [
                (
                    new_id(),
                    row["id"],
                    each.target.channel.value,
                    each.target.name,
                    each.recipient_id,
                )
                for row in rows
                for each in plan_fan_out(
                    Event(id=row["id"], kind=row["kind"], recipient_id=row["recipient_id"]),
                    [_read_person(person, row["organization_id"]) for person in people],
                    targets,
                )
            ]
            if planned:
                columns = [list(column) for column in zip(*planned, strict=True)]
                await connection.execute(SQL.insert_deliveries, *columns, now)
            await connection.execute(SQL.finish_events, [r["id"] for r in rows], now)
            return len(rows)

        return await self._database.transact(work)

    async def bury_strays(
        self, targets: Sequence[Target], waited: timedelta, now: datetime
    ) -> tuple[str, ...]:
        """Ends what has been due for so long and is for none of these sinks, the only ones there
        are; returns the channel of each.
        """
        async with self._database.read() as connection:
            rows = await connection.fetch(
                SQL.bury_strays,
                [target.channel.value for target in targets],
                [target.name for target in targets],
                now - waited,
                NO_SINK,
                now,
            )
        return tuple(row["channel"] for row in rows)

    async def bury_lapsed(self, target: Target, attempts_max: int, now: datetime) -> int:
        """Ends what nobody reported on the last attempt of; returns how many."""
        async with self._database.read() as connection:
            done = await connection.execute(
                SQL.bury_lapsed, target.channel.value, target.name, attempts_max, now
            )
        return int(done.rpartition(" ")[2])

    async def lease(
        self,
        target: Target,
        limit: int,
        now: datetime,
        *,
        lease: timedelta,
        attempts_max: int,
    ) -> tuple[Leased, ...]:
        """Takes what is due for a sink."""
        address = target.channel.value, target.name
        async with self._database.read() as connection:
            rows = await connection.fetch(
                SQL.lease_deliveries, *address, limit, now, now + lease, attempts_max
            )
        return tuple(map(_read_leased, rows))

    async def settle(self, leased: Leased, decision: Decision, now: datetime) -> bool:
        """Records the end of an attempt; whether it still was the latest."""
        id_, attempt = leased.message.id, leased.attempt
        async with self._database.read() as connection:
            match decision:
                case Conclude():
                    query, arguments = SQL.conclude_delivery, ("sent", "", now)
                case Bury(error=error):
                    query, arguments = SQL.conclude_delivery, ("dead", error, now)
                case Drop():
                    query, arguments = SQL.drop_delivery, ()
                case TryAgain(due_at=due_at, error=error):
                    query, arguments = SQL.postpone_delivery, (due_at, error)
            return await connection.fetchval(query, id_, attempt, *arguments) is not None

    async def count(self) -> tuple[DeliveryCount, ...]:
        """How many deliveries wait or are dead."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.count_deliveries)
        return tuple(
            DeliveryCount(channel=r["channel"], status=r["status"], count=r["deliveries"])
            for r in rows
        )


def _read_person(row: asyncpg.Record, organization_id: UUID) -> Person:
    return Person(
        user_id=row["id"],
        email=row["email"],
        roles=frozenset(row["roles"]),
        organization_roles=frozenset(row["organization_roles"].get(str(organization_id), ())),
        is_disabled=row["is_disabled"],
        preferences={(kind, channel): is_on for kind, channel, is_on in row["preferences"]},
    )


def _read_leased(row: asyncpg.Record) -> Leased:
    rendered = render(row["kind"], row["message"], row["organization"], row["facts"])
    return Leased(
        message=Message(
            id=row["id"],
            kind=row["kind"],
            subject=rendered.subject,
            body=rendered.body,
            organization=row["organization"],
            created_at=row["created_at"],
            username=row["username"],
            email=row["email"],
            facts=row["facts"],
        ),
        attempt=row["attempts"],
    )
