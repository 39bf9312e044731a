"""The probe that a supervisor runs as a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

from svckit.server import GrpcServer

pytestmark = pytest.mark.integration


async def probe(*argv: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "svckit.probe", *argv), stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    return process.returncode, said.decode().strip()


async def test_it_tells_who_serves_who_drains_and_who_is_gone(
    start: Callable[..., Awaitable[tuple[GrpcServer, int]]],
) -> None:
    server, _ = await start(health_listen="127.0.0.1:0")
    address = f"127.0.0.1:{server.health_port}"

    assert await probe(address) == (0, "")
    server.set_serving(False)
    assert await probe(address) == (1, "the server does not serve")
    assert await probe(address, "live") == (0, "")
    assert await probe(address, "strange") == (1, f"{address} does not answer: NOT_FOUND")
    await server.stop(0)
    assert await probe(address, "live") == (1, f"{address} does not answer: UNAVAILABLE")
    code, said = await probe("nowhere")
    assert (code, said) == (
        2,
        "address is 'nowhere': allowed is host:port with a port from 0 to 65535",
    )
