"""A control plane and a gateway that does nothing by time alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from testkit.fake_gateway_backend import FakeGatewayBackend, fake_gateway_backend
from testkit.gateway_site import Site, serve_site


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
