"""A database with this release's schema: migrated once, copied for every test."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from reconciler.store.db import Database, open_database
from reconciler.store.migrate import migrate
from testkit.pool_world import PoolWorld
from testkit.postgres import DatabaseFactory, PostgresServer

TEMPLATE = "reconciler"


async def _migrate(url: str) -> None:
    async with open_database(url, pool_max=1) as database:
        await migrate(database)


@pytest.fixture
async def migrated_url(postgres_server: PostgresServer, database: DatabaseFactory) -> str:
    """The URL of a migrated database of this test's own."""
    return await database(await postgres_server.make_template(TEMPLATE, _migrate))


@pytest.fixture
async def migrated_database(migrated_url: str) -> AsyncGenerator[Database]:
    """An open, migrated database of this test's own."""
    async with open_database(migrated_url, pool_max=4) as opened:
        yield opened


@pytest.fixture
async def world(migrated_database: Database) -> PoolWorld:
    """A template with a pool of 2, a user and a worker."""
    return await PoolWorld.create(migrated_database)
