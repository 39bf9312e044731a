"""A nats-server with exactly the configuration of `deploy/nats`, and what its users need."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from testkit.installation import NatsSite, make_secrets


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; nobody changes these."""
    return make_secrets(tmp_path_factory.mktemp("installation") / "secrets")


@pytest.fixture
async def site(secrets: Path, tmp_path: Path) -> AsyncGenerator[NatsSite]:
    """One that runs, with secrets of this test's own."""
    own = NatsSite(shutil.copytree(secrets, tmp_path / "site-secrets"), tmp_path / "nats")
    await own.start()
    try:
        yield own
    finally:
        await own.stop()
