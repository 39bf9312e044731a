"""What is older than was asked for goes, in batches; the rest, and what nobody asked for, stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from reconciler.loops.leadership import RETENTION_LOCK
from reconciler.loops.retention import BATCH_MAX, RetentionLoop
from reconciler.store.db import Database
from reconciler.store.retention import KINDS, Retention
from svckit.system import SystemEntropy
from testkit.clock import EPOCH, SettableClock
from testkit.eventually import eventually

pytestmark = pytest.mark.integration

# Rows of every kind, one a day and `copies` times the oldest. Whose they are does not matter here,
# so the parents are left out.
FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO job_logs (job_id, attempt, sequence, written_at, level, stage, text)
SELECT gen_random_uuid(), 1, day, '{epoch}'::timestamptz - day * interval '1 day', 'info', '', ''
FROM generate_series(0, 9) day;
INSERT INTO agent_logs (agent_id, written_at, level, stage, text)
SELECT gen_random_uuid(), '{epoch}'::timestamptz - day * interval '1 day', 'info', '', ''
FROM generate_series(0, 9) day;
INSERT INTO audit_log (id, happened_at, action, target_kind, target_id)
SELECT gen_random_uuid(), '{epoch}'::timestamptz - least(day, 9) * interval '1 day', 'a', 'k', 't'
FROM generate_series(0, 8 + {copies}) day;
INSERT INTO notification_deliveries (id, notification_id, channel, recipient_id, status, due_at,
    created_at, finished_at, read_at)
SELECT gen_random_uuid(), gen_random_uuid(), channel,
    CASE WHEN channel <> 'webhook' THEN gen_random_uuid() END, status, at, at,
    CASE WHEN status <> 'pending' THEN at END, CASE WHEN is_read THEN at + interval '1 day' END
FROM generate_series(0, 1) day,
    LATERAL (SELECT '{epoch}'::timestamptz - 9 * day * interval '1 day' AS at) moment,
    (VALUES ('email', 'sent', false), ('webhook', 'dead', false), ('email', 'pending', false),
        ('inbox', 'sent', false), ('inbox', 'sent', true)) AS kinds (channel, status, is_read);
"""


async def fill(database: Database, copies: int = 1) -> None:
    async with database.read() as connection, connection.transaction():
        await connection.execute(FILL.format(epoch=EPOCH.isoformat(), copies=copies))


async def count(database: Database) -> dict[str, int]:
    async with database.read() as connection:
        return {kind: await connection.fetchval(f"SELECT count(*) FROM {kind}") for kind in KINDS}


def a_loop(database: Database, clock: SettableClock, **days: int) -> RetentionLoop:
    return RetentionLoop(database, Retention(database), clock, SystemEntropy(), days)


async def test_each_kind_is_kept_for_as_long_as_was_asked_for(migrated_database: Database) -> None:
    await fill(migrated_database)
    clock = SettableClock(EPOCH + timedelta(hours=1))

    removed = await a_loop(
        migrated_database, clock, job_logs=3, agent_logs=0, audit_log=7
    ).run_once()

    assert removed == {"job_logs": 7, "audit_log": 3}
    assert await count(migrated_database) == {
        "job_logs": 3,
        "agent_logs": 10,
        "audit_log": 7,
        "notification_deliveries": 10,
    }


async def test_notifications_go_once_they_are_over_and_not_unread(
    migrated_database: Database,
) -> None:
    await fill(migrated_database)
    clock = SettableClock(EPOCH)
    assert await a_loop(migrated_database, clock, notification_deliveries=8).run_once() == {
        "notification_deliveries": 2
    }  # what was read eight days ago is not older than that
    clock.advance(1)
    await a_loop(migrated_database, clock, notification_deliveries=8).run_once()
    async with migrated_database.read() as connection:
        rows = await connection.fetch(
            "SELECT channel, status, read_at IS NOT NULL AS is_read FROM notification_deliveries"
            " WHERE created_at < $1 ORDER BY channel",
            EPOCH,
        )
        new = await connection.fetchval(
            "SELECT count(*) FROM notification_deliveries WHERE created_at = $1", EPOCH
        )
    assert [tuple(row) for row in rows] == [
        ("email", "pending", False),
        ("inbox", "sent", False),
    ]
    assert new == 5


async def test_nothing_goes_by_itself(migrated_database: Database) -> None:
    await fill(migrated_database)

    assert await a_loop(migrated_database, SettableClock(EPOCH)).run_once() == {}
    assert set((await count(migrated_database)).values()) == {10}


async def test_many_go_in_batches_with_a_rest_in_between(migrated_database: Database) -> None:
    await fill(migrated_database, copies=2 * BATCH_MAX)
    clock = SettableClock(EPOCH + timedelta(hours=1))
    loop = a_loop(migrated_database, clock, audit_log=9)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(loop.run_once())
        for remaining in (BATCH_MAX + 9, 9):

            async def rests(remaining: int = remaining) -> None:
                assert clock.sleeping == 1
                assert (await count(migrated_database))["audit_log"] == remaining

            await eventually(rests)
            clock.advance(1)

    assert running.result() == {"audit_log": 2 * BATCH_MAX}


async def test_one_replica_does_it(migrated_database: Database) -> None:
    await fill(migrated_database)
    loop = a_loop(migrated_database, SettableClock(EPOCH + timedelta(hours=1)), audit_log=1)

    async with migrated_database.try_lock(RETENTION_LOCK) as is_leader:
        assert is_leader
        assert await loop.run_once() == {}
    assert await loop.run_once() == {"audit_log": 9}
