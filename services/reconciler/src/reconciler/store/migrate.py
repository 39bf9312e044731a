"""Brings a database to this release's schema.

Files `migrations/NNNN_{pre|post}_name.sql` run in order, each once, each in its own transaction,
under a lock so that replicas which start together do not race. *pre* runs before new code serves;
*post* once no old code is left, so only on request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from reconciler.store.db import Database
from reconciler.store.queries import load_queries

__all__ = ["Migration", "list_migrations", "list_missing", "migrate"]

_LOCK_KEY = 0x5741_524D_0001  # "WARM", 1
_FILE = re.compile(r"^(\d{4})_(pre|post)_(\w+)\.sql$")

SQL = load_queries("migrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    number: int
    phase: str
    name: str
    sql: str


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
    database: Database, *, post: bool = False, migrations: Sequence[Migration] | None = None
) -> tuple[str, ...]:
    """Applies what is missing and returns the names. Stops before the first *post* step unless
    `post` is set, or the database is new and so has no old code to spare.
    """
    applied: list[str] = []
    async with database.read() as connection:
        await connection.execute(SQL.lock_migrations, _LOCK_KEY, timeout=300)
        try:
            await connection.execute(SQL.ensure_migrations_table)
            rows = await connection.fetch(SQL.list_applied_migrations)
            done = {row["number"] for row in rows}
            for migration in _plan(migrations, done, post=post):
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=600)
                    await connection.execute(SQL.insert_migration, migration.number, migration.name)
                applied.append(migration.name)
        finally:
            await connection.execute(SQL.unlock_migrations, _LOCK_KEY)
    return tuple(applied)


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
