"""The reconciler tries out its bus: on a real server, that permits and that does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bus.nats import NatsBus, connect_nats
from embedded import find_free_port
from embedded._binaries import find_nats_server
from reconciler.core.checks import Check
from reconciler.loops.bus_check import check_bus
from testkit.eventually import eventually

pytestmark = pytest.mark.integration

Connect = Callable[[], Awaitable[NatsBus]]


@asynccontextmanager
async def serve(
    directory: Path, permissions: dict[str, Any]
) -> AsyncGenerator[tuple[NatsBus, Connect]]:
    """A bus at a server that permits this and no more, and what makes another."""
    port = find_free_port()
    config = directory / "nats.conf"
    user = {"user": "reconciler", "password": "secret", "permissions": permissions}
    config.write_text(
        json.dumps({"listen": f"127.0.0.1:{port}", "authorization": {"users": [user]}})
    )
    server = await asyncio.create_subprocess_exec(
        find_nats_server(), "--config", config, stderr=asyncio.subprocess.DEVNULL
    )
    connect = partial(connect_nats, f"nats://reconciler:secret@127.0.0.1:{port}", name="test")
    bus = await connect(hears_itself=False)
    try:
        await eventually(lambda: connected(bus))
        yield bus, connect
    finally:
        await bus.close()
        server.kill()
        await server.wait()


async def connected(bus: NatsBus) -> None:
    assert bus.connected


async def test_what_is_said_is_heard(tmp_path: Path) -> None:
    permissions = {"publish": "warmpool.v1.>", "subscribe": "warmpool.v1.>"}
    async with serve(tmp_path, permissions) as (bus, connect):
        assert await check_bus(bus, connect) == Check(
            name="nats", is_ok=True, message="connected, and heard by others"
        )
        assert await bus.probe() == ""


@pytest.mark.parametrize(
    ("publish", "subscribe", "refused"),
    [
        ("warmpool.v1.workspaces.>", "warmpool.v1.>", 'publish to "warmpool.v1.claims.'),
        ("warmpool.v1.claims.*", "warmpool.v1.>", 'publish to "warmpool.v1.workspaces.'),
        ("warmpool.v1.>", "warmpool.v1.jobs.>", 'subscription to "warmpool.v1.workspaces.'),
    ],
)
async def test_a_permission_that_is_missing_is_named(
    tmp_path: Path, publish: str, subscribe: str, refused: str
) -> None:
    async with serve(tmp_path, {"publish": publish, "subscribe": subscribe}) as (bus, connect):
        check = await check_bus(bus, connect)
        why = await bus.probe()

    assert (check.is_ok, check.fix) == (False, "give the reconciler's account these permissions")
    assert check.message.startswith(
        "the server does not permit what we need: permissions violation"
    )
    assert refused in check.message
    assert refused in why


async def test_who_listens_may_be_known_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cluster, the publisher's server hears of a new listener after the listener's own."""
    lost: list[str] = []
    permissions = {"publish": "warmpool.v1.>", "subscribe": "warmpool.v1.>"}
    async with serve(tmp_path, permissions) as (bus, connect):
        publish = bus.publish

        async def lose_first(subject: str, payload: bytes) -> None:
            if subject.startswith("warmpool.v1.workspaces.") and not lost:
                lost.append(subject)
            else:
                await publish(subject, payload)

        monkeypatch.setattr(bus, "publish", lose_first)
        assert (await check_bus(bus, connect)).is_ok
    assert len(lost) == 1


async def test_a_server_that_is_away_is_told_with_what_it_means() -> None:
    connect = partial(connect_nats, "nats://127.0.0.1:1", name="test")
    bus = await connect()
    try:
        check = await check_bus(bus, connect)
    finally:
        await bus.close()

    assert not check.is_ok
    assert check.message.startswith("not connected (")
    assert "within a sweep instead of at once" in check.message
