"""The control plane's API for people, with the owner "admin" and a pool of the template "dev"."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from testkit.office import Office, serve_office
from testkit.pool_world import PoolWorld


@pytest.fixture
async def office(world: PoolWorld) -> AsyncGenerator[Office]:
    """The API, served until the test ends."""
    async with serve_office(world) as office:
        yield office
