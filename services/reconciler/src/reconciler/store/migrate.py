"""Brings a database to this release's schema.

Files `migrations/NNNN_{pre|post}_name.sql` run in order, each once, each in its own transaction,
under a lock so that replicas which start together do not race. *pre* runs before new code serves;
*post* once no old code is left, so only on request.

Whoever serves meanwhile is not held up: everybody who comes after a step that waits for a table
waits behind it, so a step gives up soon, rests, and tries again, so many times. What would hold a
big table for longer stands in a file whose first line is `-- no-transaction`: its statements, each
ending with `;` at the end of a line, run one by one. One that fails halfway is run again as a
whole, so it clears away first what it may have left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from svckit.errors import StartFailed, Unavailable
from svckit.system import Clock, SystemClock

__all__ = ["Migration", "Patience", "list_migrations", "list_missing", "migrate"]

OTHERS_SECONDS: Final = 300.0
"""How long another replica may migrate before this one gives up."""
LOOK_SECONDS: Final = 0.2
STEP_SECONDS: Final = 600.0
ALONE_SECONDS: Final = 3600.0
"""A statement outside a transaction: it reads a whole table, and holds up nobody."""
NO_TRANSACTION: Final = "-- no-transaction\n"
_LOCK_KEY = 0x5741_524D_0001  # "WARM", 1
_HELD_UP = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_STATEMENT_END = re.compile(r";[ \t]*$", re.MULTILINE)
_FILE = re.compile(r"^(\d{4})_(pre|post)_(\w+)\.sql$")

SQL = load_queries("migrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    number: int
    phase: str
    name: str
    sql: str

    @property
    def statements(self) -> tuple[str, ...]:
        """What runs one by one outside a transaction; nothing if it has one."""
        if not self.sql.startswith(NO_TRANSACTION):
            return ()
        parts = _STATEMENT_END.split(self.sql.removeprefix(NO_TRANSACTION))
        return tuple(part.strip() for part in parts if part.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a step waits for what others hold: in a transaction others wait behind it meanwhile,
    outside of one nobody does.
    """

    lock_seconds: float = 2.0
    lock_seconds_alone: float = 60.0
    attempts_max: int = 15
    rest_seconds: float = 5.0


PATIENCE: Final = Patience()


def list_migrations() -> tuple[Migration, ...]:
    """Every migration of this release, in order."""
    found: list[Migration] = []
    for file in (resources.files("reconciler.store") / "migrations").iterdir():
        if match := _FILE.match(file.name):
            number, phase, _ = match.groups()
            found.append(
                Migration(
                    number=int(number), phase=phase, name=file.name[:-4], sql=file.read_text()
                )
            )
    return tuple(sorted(found, key=lambda migration: migration.number))


async def migrate(
    database: Database,
    *,
    post: bool = False,
    migrations: Sequence[Migration] | None = None,
    clock: Clock | None = None,
    patience: Patience = PATIENCE,
) -> tuple[str, ...]:
    """Applies what is missing and returns the names. Stops before the first *post* step unless
    `post` is set, or the database is new and so has no old code to spare. Raises StartFailed if
    others hold a table all the time; the steps before are applied then.
    """
    clock = clock or SystemClock()
    applied: list[str] = []
    async with database.read() as connection:
        await _take_turn(connection, clock)
        try:
            await connection.execute(SQL.ensure_migrations_table)
            rows = await connection.fetch(SQL.list_applied_migrations)
            done = {row["number"] for row in rows}
            for migration in _plan(migrations, done, post=post):
                await _apply(connection, migration, clock, patience)
                applied.append(migration.name)
        finally:
            await connection.execute(SQL.unlock_migrations, _LOCK_KEY)
    return tuple(applied)


async def _take_turn(connection: Connection, clock: Clock) -> None:
    """Waits until no other replica migrates. It asks again and again: a statement that waits is one
    that the making of an index waits for, so each would wait for the other.
    """
    began = clock.monotonic()
    while not await connection.fetchval(SQL.try_lock_migrations, _LOCK_KEY):
        if clock.monotonic() - began > OTHERS_SECONDS:
            raise Unavailable(f"another replica has migrated for {OTHERS_SECONDS:g} seconds")
        await clock.sleep(LOOK_SECONDS)


async def _apply(
    connection: Connection, migration: Migration, clock: Clock, patience: Patience
) -> None:
    run = _run_alone if migration.statements else _run_in_transaction
    for attempt in range(1, patience.attempts_max + 1):
        try:
            return await run(connection, migration, patience)
        except _HELD_UP as error:
            if attempt == patience.attempts_max:
                raise StartFailed(
                    f"the migration {migration.name} was not applied: others held what it needs,"
                    f" {attempt} times ({error}); end long transactions and other changes of the"
                    " schema (see pg_stat_activity), then migrate again"
                ) from error
        await clock.sleep(patience.rest_seconds)
    raise AssertionError("the loop returns or raises")


async def _run_in_transaction(
    connection: Connection, migration: Migration, patience: Patience
) -> None:
    async with connection.transaction():
        await connection.execute(SQL.limit_waiting, _milliseconds(patience.lock_seconds))
        await connection.execute(migration.sql, timeout=STEP_SECONDS)
        await connection.execute(SQL.insert_migration, migration.number, migration.name)


async def _run_alone(connection: Connection, migration: Migration, patience: Patience) -> None:
    await connection.execute(SQL.limit_waiting_alone, _milliseconds(patience.lock_seconds_alone))
    try:
        for statement in migration.statements:
            await connection.execute(statement, timeout=ALONE_SECONDS)
        await connection.execute(SQL.insert_migration, migration.number, migration.name)
    finally:
        await connection.execute(SQL.unlimit_waiting)


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


async def list_missing(
    database: Database, *, migrations: Sequence[Migration] | None = None
) -> tuple[str, ...]:
    """The names of what must be applied before this release can serve. Changes nothing."""
    async with database.read() as connection:
        done: set[int] = set()
        if await connection.fetchval(SQL.has_migrations_table):
            done = {row["number"] for row in await connection.fetch(SQL.list_applied_migrations)}
    return tuple(migration.name for migration in _plan(migrations, done, post=False))


def _plan(
    migrations: Sequence[Migration] | None, done: set[int], *, post: bool
) -> tuple[Migration, ...]:
    """What to apply, in order, to a database in which `done` are."""
    steps: list[Migration] = []
    for migration in list_migrations() if migrations is None else migrations:
        if migration.number in done:
            continue
        if migration.phase == "post" and done and not post:
            break
        steps.append(migration)
    return tuple(steps)
