"""The migrations lead to exactly the schema that `schema.sql` shows, by one replica or by many."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from importlib import resources

import asyncpg
import pytest

from reconciler.store.db import Database, open_database
from reconciler.store.migrate import Migration, Patience, list_migrations, list_missing, migrate
from svckit.errors import StartFailed
from testkit.clock import SettableClock
from testkit.eventually import eventually
from testkit.postgres import DatabaseFactory

pytestmark = pytest.mark.integration

NAMES = tuple(migration.name for migration in list_migrations())

CATALOG = {
    "columns": """
        SELECT c.table_name, c.ordinal_position, c.column_name, c.udt_name, c.is_nullable,
               c.column_default, c.is_identity, c.identity_generation, c.is_generated
        FROM information_schema.columns c WHERE c.table_schema = 'public'
        ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text AS table_name, conname, pg_get_constraintdef(oid),
               condeferrable, condeferred, convalidated
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        ORDER BY 1, 2""",
    "others": """
        SELECT c.relkind::text, c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('r', 'i')
        ORDER BY 1, 2""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "organizations": "SELECT id, name, is_default FROM organizations ORDER BY id",
    "users": "SELECT id, username, full_name, roles, is_system FROM users ORDER BY id",
    "members": "SELECT organization_id, user_id, roles FROM organization_members ORDER BY 1, 2",
}


async def describe(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything a schema is, as rows; the migrations' own book is left out."""
    connection = await asyncpg.connect(url)
    try:
        return {
            kind: [
                tuple(row)
                for row in await connection.fetch(query)
                if not any(str(value).startswith("schema_migrations") for value in row)
            ]
            for kind, query in CATALOG.items()
        }
    finally:
        await connection.close()


async def test_migrating_ends_in_the_schema_that_is_shown(
    migrated_url: str, database: DatabaseFactory
) -> None:
    shown_url = await database()
    connection = await asyncpg.connect(shown_url)
    await connection.execute((resources.files("reconciler.store") / "schema.sql").read_text())
    await connection.close()

    shown = await describe(shown_url)
    migrated = await describe(migrated_url)

    assert {kind for kind, rows in shown.items() if not rows} <= {"functions"}
    for kind, rows in shown.items():
        assert migrated[kind] == rows, kind


async def test_migrating_again_applies_nothing(migrated_database: Database) -> None:
    assert await migrate(migrated_database) == ()


async def test_replicas_that_start_together_migrate_once(database: DatabaseFactory) -> None:
    url = await database()
    async with open_database(url, pool_max=4) as opened, asyncio.TaskGroup() as group:
        tasks = [group.create_task(migrate(opened)) for _ in range(3)]

    applied = sorted((task.result() for task in tasks), key=len)
    assert applied == [(), (), NAMES]


def test_every_migration_has_a_number_of_its_own() -> None:
    numbers = [migration.number for migration in list_migrations()]
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))


def a_step(number: int, phase: str) -> Migration:
    """A migration that leaves a table behind."""
    name = f"{number:04}_{phase}_step"
    return Migration(number=number, phase=phase, name=name, sql=f"CREATE TABLE step_{number} ()")


async def test_a_new_database_takes_every_step(database: DatabaseFactory) -> None:
    steps = [a_step(1, "pre"), a_step(2, "post"), a_step(3, "pre")]
    async with open_database(await database(), pool_max=1) as opened:
        assert await migrate(opened, migrations=steps) == tuple(step.name for step in steps)


async def test_a_post_step_waits_until_old_code_is_gone(database: DatabaseFactory) -> None:
    old = [a_step(1, "pre")]
    steps = [*old, a_step(2, "pre"), a_step(3, "post"), a_step(4, "pre")]
    async with open_database(await database(), pool_max=1) as opened:
        assert await list_missing(opened, migrations=old) == ("0001_pre_step",)
        await migrate(opened, migrations=old)
        assert await list_missing(opened, migrations=steps) == ("0002_pre_step",)
        during = await migrate(opened, migrations=steps)
        assert await list_missing(opened, migrations=steps) == ()
        after = await migrate(opened, post=True, migrations=steps)
    assert (during, after) == (("0002_pre_step",), ("0003_post_step", "0004_pre_step"))


HURRIED = Patience(lock_seconds=0.3, lock_seconds_alone=0.3, attempts_max=2)
WIDEN = Migration(
    number=2, phase="pre", name="0002_pre_widen", sql="ALTER TABLE step_1 ADD COLUMN width integer"
)
INDEX = Migration(
    number=2,
    phase="pre",
    name="0002_pre_index",
    sql="""-- no-transaction
-- One of each.
DROP INDEX CONCURRENTLY IF EXISTS one_of_each;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_of_each
    ON step_1 (width);
""",
)


async def test_a_step_that_waits_lets_others_pass_and_is_tried_again(
    database: DatabaseFactory,
) -> None:
    url, clock = await database(), SettableClock()
    holder, reader = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with open_database(url, pool_max=1) as opened, asyncio.TaskGroup() as tasks:
            await migrate(opened, migrations=[a_step(1, "pre")])
            transaction = holder.transaction()
            await transaction.start()
            await holder.fetch("SELECT * FROM step_1")
            migrating = tasks.create_task(
                migrate(opened, migrations=[WIDEN], clock=clock, patience=HURRIED)
            )
            await eventually(lambda: _waits(reader))
            # GIVEN a step that waits for the holder, a reader waits behind it
            await reader.fetch("SELECT * FROM step_1", timeout=5)
            # THEN it was let by while the holder still holds
            await eventually(lambda: _is_resting(clock))
            await transaction.commit()
            clock.advance(HURRIED.rest_seconds)
        assert migrating.result() == (WIDEN.name,)
    finally:
        await holder.close()
        await reader.close()


async def test_a_step_that_never_gets_its_table_says_what_to_do(database: DatabaseFactory) -> None:
    url, clock = await database(), SettableClock()
    holder = await asyncpg.connect(url)
    try:
        async with open_database(url, pool_max=1) as opened, asyncio.TaskGroup() as tasks:
            await migrate(opened, migrations=[a_step(1, "pre")])
            async with holder.transaction():
                await holder.fetch("SELECT * FROM step_1")
                migrating = tasks.create_task(
                    _fail(migrate(opened, migrations=[WIDEN], clock=clock, patience=HURRIED))
                )
                await eventually(lambda: _is_resting(clock))
                clock.advance(HURRIED.rest_seconds)
                said = await migrating
            assert await list_missing(opened, migrations=[WIDEN]) == (WIDEN.name,)
            async with opened.read() as connection:  # and nobody else has its limits
                assert await connection.fetchval("SHOW lock_timeout") == "0"
    finally:
        await holder.close()
    assert said.startswith("the migration 0002_pre_widen was not applied: others held")
    assert "2 times (canceling statement due to lock timeout); end long transactions" in said


async def test_what_an_index_that_failed_left_behind_is_cleared_away(
    database: DatabaseFactory,
) -> None:
    table = Migration(
        number=1, phase="pre", name="0001_pre_step", sql="CREATE TABLE step_1 (width integer)"
    )
    steps = [table, INDEX]
    async with open_database(await database(), pool_max=1) as opened:
        await migrate(opened, migrations=steps[:1])
        async with opened.read() as connection:
            await connection.execute("INSERT INTO step_1 VALUES (1), (1)")
        with pytest.raises(asyncpg.UniqueViolationError):
            await migrate(opened, migrations=steps)
        async with opened.read() as connection:
            assert await connection.fetchval(IS_VALID) is False
            await connection.execute("DELETE FROM step_1")

        assert await migrate(opened, migrations=steps) == (INDEX.name,)
        async with opened.read() as connection:
            assert await connection.fetchval(IS_VALID) is True
            limits = [await connection.fetchval(f"SHOW {each}_timeout") for each in LIMITS]
    assert limits == ["0", "0"]


def test_what_stands_outside_a_transaction_can_be_run_again() -> None:
    alone = [step for step in list_migrations() if step.statements]
    assert alone
    for step in alone:
        words = [re.sub(r"--.*\n", "", each) for each in step.statements]
        for drop, create in zip(words[::2], words[1::2], strict=True):
            name = drop.removeprefix("DROP INDEX CONCURRENTLY IF EXISTS ")
            assert re.fullmatch(r"\w+", name), drop
            assert create.startswith(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON "), create


LIMITS = ("lock", "statement")
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'one_of_each'::regclass"


async def _waits(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    assert await connection.fetchval(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'step_1'::regclass"
    )


def _is_resting(clock: SettableClock) -> None:
    assert clock.sleeping


async def _fail(work: Awaitable[object]) -> str:
    with pytest.raises(StartFailed) as caught:
        await work
    return str(caught.value)
