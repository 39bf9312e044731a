"""The embedded Postgres: durable, private, and gone when its owner is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from embedded import DirectoryInUse, EmbeddedError, EmbeddedPostgres, StartFailed, is_running

pytestmark = pytest.mark.integration

OWNER = """
import sys, pathlib
from embedded import EmbeddedPostgres
server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
server.start_blocking()
print(server.url, server.pid, flush=True)
sys.stdin.read()
"""


async def test_it_keeps_what_was_committed_and_lets_nobody_in_without_the_password(
    tmp_path: Path,
) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    await server.start()
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.close()
    await server.stop()
    await server.stop()
    assert server.pid == 0

    await server.start()
    assert await read_kept(server.url) == 1
    parts = urlsplit(server.url)
    stranger = urlunsplit(parts._replace(netloc="warmpool:wrong@"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stranger)
    await server.stop()


def test_a_server_whose_owner_was_killed_ends_and_starts_again(tmp_path: Path) -> None:
    directory = tmp_path / "pg"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        url, pid = owner.stdout.readline().split()
        asyncio.run(keep_one(url))
        with pytest.raises(DirectoryInUse, match=f"in use by process {owner.pid}"):
            EmbeddedPostgres(directory).start_blocking()
        owner.kill()

    server = EmbeddedPostgres(directory)
    server.start_blocking()
    assert not is_running(int(pid))
    assert asyncio.run(read_kept(server.url)) == 1
    server.stop_blocking()


async def test_a_server_that_was_killed_recovers(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    await server.start()
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    connection.terminate()

    # its number may belong to somebody else by the time it starts again
    (tmp_path / "pg/data/postmaster.pid").write_text(f"{os.getppid()}\n{tmp_path}/pg/data\n")
    await server.start()
    assert await read_kept(server.url) == 1
    await server.stop()


async def test_a_directory_below_a_closed_one_with_a_long_name_serves(
    tmp_path: Path, closed: Callable[[Path], None]
) -> None:
    home = tmp_path / "home"
    directory = home / ("a rather long name " * 5) / "pg"
    directory.parent.mkdir(parents=True)
    closed(home)
    server = EmbeddedPostgres(directory, fast=True)
    await server.start()
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("SHOW fsync") == "off"
    await connection.close()
    elsewhere = server.socket_path.parent
    await server.stop()
    assert not elsewhere.exists()


async def test_a_start_that_fails_quotes_the_log_and_frees_the_directory(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", fast=True, settings={"max_connections": "none"})
    with pytest.raises(StartFailed, match='invalid value for parameter "max_connections"'):
        await server.start()
    mended = EmbeddedPostgres(tmp_path / "pg", fast=True)
    mended.start_blocking()
    mended.stop_blocking()


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=r"file/pg cannot be used: Not a directory"):
        await EmbeddedPostgres(tmp_path / "file" / "pg").start()


async def keep_one(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    await connection.close()


async def read_kept(url: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT one FROM kept")
    finally:
        await connection.close()


@pytest.fixture
def closed() -> Callable[[Path], None]:
    """Closes a directory to other users."""

    def close(directory: Path) -> None:
        directory.chmod(0o700)

    return close
