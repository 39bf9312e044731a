"""The session's servers, as tests use them."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from embedded import is_running
from testkit.faultproxy import fault_proxy
from testkit.nats import OwnNats
from testkit.postgres import DatabaseFactory, PostgresServer

pytestmark = pytest.mark.integration


async def test_a_template_is_prepared_once_and_copied(
    postgres_server: PostgresServer, database: DatabaseFactory
) -> None:
    prepared: list[str] = []

    async def prepare(url: str) -> None:
        prepared.append(url)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE number AS SELECT 7 AS value")
        await connection.close()

    for _ in range(2):
        assert await postgres_server.make_template("numbers", prepare) == "numbers"
    assert len(prepared) == 1
    urls = [await database("numbers"), await database("numbers"), await database()]
    assert len(set(urls)) == 3
    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'number'"
    assert [await ask(url, tables) for url in urls] == [1, 1, 0]


async def test_a_fault_proxy_in_front_of_postgres(
    postgres_server: PostgresServer, database: DatabaseFactory
) -> None:
    url = await database()
    async with fault_proxy(str(postgres_server.socket_path)) as proxy:
        connection = await asyncpg.connect(url, host="127.0.0.1", port=proxy.port, ssl=False)
        assert await connection.fetchval("SELECT 1") == 1
        proxy.cut()
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            await connection.fetchval("SELECT 1")


async def test_an_own_nats_server_freezes_crashes_and_comes_back(own_nats: OwnNats) -> None:
    host, _, port = own_nats.address.partition(":")
    own_nats.freeze()
    reader, writer = await asyncio.open_connection(host, int(port))  # the kernel accepts
    own_nats.thaw()
    assert (await reader.readline()).startswith(b"INFO ")
    pid, url = own_nats.pid, own_nats.url
    await own_nats.crash()
    assert (own_nats.pid, is_running(pid)) == (0, False)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
    await own_nats.start()
    assert own_nats.url == url
    writer.close()


async def ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()
