"""The fault proxy does to a real connection what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from testkit.eventually import eventually
from testkit.faultproxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.integration


@pytest.fixture
async def proxy() -> AsyncGenerator[FaultProxy]:
    """A proxy in front of an echo."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1024):
                writer.write(piece)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, fault_proxy(f"127.0.0.1:{port}") as proxy:
        yield proxy


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, text: bytes) -> bytes:
        self.writer.write(text)
        return await self.reader.read(1024)


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncGenerator[Client]:
    """A client that was answered once."""
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    assert await client.say(b"hello") == b"hello"
    yield client
    client.writer.close()


async def test_a_frozen_connection_stays_open_and_goes_on(
    proxy: FaultProxy, client: Client
) -> None:
    proxy.freeze()
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(client.say(b"anyone?"))
        seen = proxy.passed_bytes
        for _ in range(100):
            await asyncio.sleep(0)
        assert (answer.done(), proxy.passed_bytes) == (False, seen)
        proxy.thaw()
    assert answer.result() == b"anyone?"


async def test_a_cut_resets_what_there_is_and_welcomes_who_comes(
    proxy: FaultProxy, client: Client
) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await client.reader.read(1)
    again = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    assert await again.say(b"back") == b"back"
    again.writer.close()


async def test_a_half_closed_connection_ends_for_the_client_alone(
    proxy: FaultProxy, client: Client
) -> None:
    proxy.half_close()
    assert await client.reader.read(1) == b""
    assert proxy.connections_count == 1


async def test_an_end_that_is_held_is_not_passed_on(proxy: FaultProxy, client: Client) -> None:
    proxy.hold_ends = True
    client.writer.write_eof()
    for _ in range(100):
        await asyncio.sleep(0)
    assert proxy.connections_count == 1
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await client.reader.read(1)


async def test_who_connects_while_it_refuses_is_reset(proxy: FaultProxy, client: Client) -> None:
    proxy.refuse = True
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    assert await client.say(b"still here") == b"still here"


async def test_a_delay_holds_every_piece_back(proxy: FaultProxy, client: Client) -> None:
    proxy.delay_seconds = 0.05
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await client.say(b"slowly") == b"slowly"
    assert loop.time() - began >= 0.1  # there and back


async def test_a_client_that_leaves_is_forgotten(proxy: FaultProxy, client: Client) -> None:
    client.writer.close()

    def check() -> None:
        assert proxy.connections_count == 0

    await eventually(check)
