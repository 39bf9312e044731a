"""A pool whose notifications go to real servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from testkit.notice_desk import NoticeDesk, Tls, make_tls
from testkit.pool_world import PoolWorld
from testkit.postbox import HookServer, MailServer, serve_hooks, serve_mail


@pytest.fixture
def desk(world: PoolWorld) -> NoticeDesk:
    """Without any sink; set `sinks`."""
    return NoticeDesk(world)


@pytest.fixture
async def mail() -> AsyncGenerator[MailServer]:
    """A mail server that takes everything, in clear."""
    async with serve_mail() as server:
        yield server


@pytest.fixture
async def hook() -> AsyncGenerator[HookServer]:
    """A receiver of posts."""
    async with serve_hooks() as server:
        yield server


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """A certificate of this test's own."""
    return make_tls(tmp_path)
