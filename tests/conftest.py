"""Real servers for every test that asks: one of each per session and worker."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from embedded import EmbeddedNats
from testkit.nats import OwnNats, own_nats, serve_nats
from testkit.postgres import DatabaseFactory, PostgresServer, serve_postgres

# A machine may be slow; that says nothing about the code.
settings.register_profile(
    "warmpool", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("warmpool")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Passes over what is marked `terraform` on a machine that has none: it is no requirement."""
    if shutil.which("terraform") or shutil.which("tofu"):
        return
    absent = pytest.mark.skip(reason="neither terraform nor tofu is on PATH")
    for item in items:
        if item.get_closest_marker("terraform"):
            item.add_marker(absent)


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer]:
    """The session's Postgres."""
    with serve_postgres() as server:
        yield server


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncGenerator[DatabaseFactory]:
    """Makes databases: `await database()` is the URL of an empty one, `await database(name)` that
    of a copy of a template. They are dropped after the test.
    """
    async with postgres_server.databases() as make:
        yield make


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[EmbeddedNats]:
    """The session's nats-server. Subjects are shared by all tests: use ids of your own."""
    with serve_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def nats_url(nats_server: EmbeddedNats) -> str:
    """Where to connect to the session's nats-server."""
    return nats_server.url


@pytest.fixture(name="own_nats")
async def own_nats_fixture(tmp_path: Path) -> AsyncGenerator[OwnNats]:
    """A nats-server of this test's own, to crash, freeze and start again."""
    async with own_nats(tmp_path / "nats") as server:
        yield server
