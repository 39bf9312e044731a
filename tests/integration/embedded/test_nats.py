"""The embedded nats-server: private, found again at the same port, and gone when its owner is."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from embedded import EmbeddedNats, StartFailed

pytestmark = pytest.mark.integration

OWNER = """
import sys, pathlib
from embedded import EmbeddedNats
server = EmbeddedNats(pathlib.Path(sys.argv[1]))
server.start_blocking()
print(server.port, server.pid, flush=True)
sys.stdin.read()
"""


async def test_it_serves_who_has_the_token_and_comes_back_at_the_same_port(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path / "nats")
    await server.start()
    url = server.url
    assert await answer_to(url) == b"PONG\r\n"
    assert await answer_to(f"nats://wrong@127.0.0.1:{server.port}") == (
        b"-ERR 'Authorization Violation'\r\n"
    )

    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    assert server.pid == 0
    await server.start()
    assert server.url == url
    assert await answer_to(url) == b"PONG\r\n"
    await server.stop()


async def answer_to(url: str) -> bytes:
    """What the server says to a client that connects with this URL and pings."""
    parts = urlsplit(url)
    options = {"auth_token": parts.username, "verbose": False, "pedantic": False}
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        assert (await reader.readline()).startswith(b"INFO ")
        writer.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


def test_it_ends_with_its_owner_even_while_frozen(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "nats")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        port, pid = map(int, owner.stdout.readline().split())
        server = os.pidfd_open(pid)
        os.kill(pid, signal.SIGSTOP)
        owner.kill()
    gone, _, _ = select.select([server], [], [], 10)
    os.close(server)
    assert gone == [server]
    successor = EmbeddedNats(tmp_path / "nats", port=port)
    successor.start_blocking()
    assert successor.port == port
    successor.stop_blocking()


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    first = EmbeddedNats(tmp_path / "first")
    first.start_blocking()
    with pytest.raises(StartFailed, match=rf"{first.port}.*address already in use"):
        await EmbeddedNats(tmp_path / "second", port=first.port).start()
    first.stop_blocking()
