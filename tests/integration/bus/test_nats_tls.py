"""The bus over TLS: a server whose root is known is used, another is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.errors import BusMisconfigured
from bus.nats import connect_nats
from embedded import find_free_port
from embedded._binaries import find_nats_server
from testkit.certificates import Identity, make_identity
from testkit.eventually import eventually

pytestmark = pytest.mark.integration


@asynccontextmanager
async def serve(directory: Path, identity: Identity) -> AsyncGenerator[str]:
    port = find_free_port()
    config = directory / "nats.conf"
    config.write_text(
        json.dumps(
            {
                "listen": f"127.0.0.1:{port}",
                "tls": {
                    "cert_file": str(identity.cert_file),
                    "key_file": str(identity.key_file),
                },
            }
        )
    )
    server = await asyncio.create_subprocess_exec(
        find_nats_server(), "--config", config, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"tls://127.0.0.1:{port}"
    finally:
        server.kill()
        await server.wait()


async def test_hints_travel_encrypted_to_a_server_whose_root_is_known(tmp_path: Path) -> None:
    server = make_identity(tmp_path, "server")
    async with serve(tmp_path, server) as url:
        bus = await connect_nats(url, name="test", ca_file=server.cert_file)
        try:
            await eventually(lambda: connected(bus.connected))
            async with bus.subscribe("warmpool.v1.test") as subscription, asyncio.timeout(10):
                await bus.flush()
                await bus.publish("warmpool.v1.test", b"hello")
                message = await anext(aiter(subscription))
        finally:
            await bus.close()

    assert message.payload == b"hello"


async def test_a_server_of_another_root_is_not_trusted(tmp_path: Path) -> None:
    server, stranger = make_identity(tmp_path, "server"), make_identity(tmp_path, "stranger")
    async with serve(tmp_path, server) as url:
        bus = await connect_nats(url, name="test", ca_file=stranger.cert_file)
        try:
            await eventually(lambda: failed(bus.last_failure))
            assert not bus.connected
        finally:
            await bus.close()


async def test_roots_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BusMisconfigured, match=r"the roots for NATS in .*missing\.crt"):
        await connect_nats("tls://127.0.0.1:1", name="test", ca_file=tmp_path / "missing.crt")


async def connected(is_connected: bool) -> None:
    assert is_connected


async def failed(kind: str) -> None:
    assert kind == "SSLCertVerificationError"
