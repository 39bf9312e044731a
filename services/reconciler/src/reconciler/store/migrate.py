"""Brings a database to this release's schema.

Files `migrations/NNNN_{pre|post}_name.sql` run in order, each once, each in its own transaction,
under a lock so that replicas which start together do not race. *pre* runs before new code serves;
*post* once no old code is left, so only on request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

import asyncpg

from reconciler.store.db import Database

__all__ = ["Migration", "list_migrations", "migrate"]

_LOCK_KEY = 0x5741_524D_0001  # "WARM", 1
_FILE = re.compile(r"^(\d{4})_(pre|post)_(\w+)\.sql$")
_BOOKS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


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


async def migrate(database: Database, *, post: bool = True) -> tuple[str, ...]:
    """Applies what is missing and returns the names. With `post` False stops before the first
    *post* step.
    """
    applied: list[str] = []
    async with database.read() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY, timeout=300)
        try:
            await connection.execute(_BOOKS)
            done = {
                record["number"]
                for record in await connection.fetch("SELECT number FROM schema_migrations")
            }
            for migration in list_migrations():
                if migration.number in done:
                    continue
                if migration.phase == "post" and not post:
                    break
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=600)
                    await connection.execute(
                        "INSERT INTO schema_migrations (number, name) VALUES ($1, $2)",
                        migration.number,
                        migration.name,
                    )
                applied.append(migration.name)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)
    return tuple(applied)


async def schema_version(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """The newest migration applied."""
    name: str | None = await connection.fetchval(
        "SELECT name FROM schema_migrations ORDER BY number DESC LIMIT 1"
    )
    return name or "none"
