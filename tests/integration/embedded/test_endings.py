"""How either embedded server ended, as whoever keeps it running sees it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from embedded import EmbeddedNats, EmbeddedPostgres
from testkit.eventually import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(params=[EmbeddedNats, EmbeddedPostgres])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> EmbeddedNats | EmbeddedPostgres:
    """One of either, not started."""
    kind: type[EmbeddedNats | EmbeddedPostgres] = request.param
    return kind(tmp_path / "server")


async def test_a_server_that_is_told_to_end_did_not_end_by_itself(
    server: EmbeddedNats | EmbeddedPostgres,
) -> None:
    await server.start()
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(server.stop())
        while not stopping.done():
            assert server.exit_code is None
            await asyncio.sleep(0)
    assert server.exit_code is None


async def test_a_server_that_was_killed_says_so_until_it_is_started_again(
    server: EmbeddedNats | EmbeddedPostgres,
) -> None:
    await server.start()
    os.kill(server.pid, signal.SIGKILL)

    def has_ended() -> None:
        assert server.exit_code == -signal.SIGKILL

    await eventually(has_ended)
    await server.stop()
    await server.start()
    assert server.exit_code is None
    await server.stop()
