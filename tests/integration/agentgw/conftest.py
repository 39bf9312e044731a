"""A control plane and a gateway that does nothing by time alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from reconciler.store.db import open_database
from reconciler.store.migrate import migrate
from testkit.fake_gateway_backend import FakeGatewayBackend, fake_gateway_backend
from testkit.gateway_site import Site, serve_site
from testkit.pool_world import PoolWorld
from testkit.postgres import DatabaseFactory


@pytest.fixture
async def backend() -> AsyncGenerator[FakeGatewayBackend]:
    """The control plane."""
    async with fake_gateway_backend() as served:
        yield served


@pytest.fixture
async def site(backend: FakeGatewayBackend) -> AsyncGenerator[Site]:
    """The gateway."""
    async with serve_site(backend) as served:
        yield served


@pytest.fixture
async def world(database: DatabaseFactory) -> AsyncGenerator[PoolWorld]:
    """The real control plane's database, with a pool."""
    async with open_database(await database(), pool_max=4) as opened:
        await migrate(opened)
        yield await PoolWorld.create(opened)
