"""A Postgres per test session, and a database per test.

A template is a database that is prepared once, such as migrated, and copied for every test that
asks for it: copying takes some ten milliseconds, whatever it holds.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import asyncpg

from embedded import EmbeddedPostgres

__all__ = ["DatabaseFactory", "PostgresServer", "serve_postgres"]


class DatabaseFactory(Protocol):
    """Makes a new database, empty or a copy of a template, and returns its URL."""

    async def __call__(self, template: str | None = None) -> str: ...


class PostgresServer:
    """The session's server. It forgets everything when it ends, and is fast for that."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._serial = itertools.count(1)
        self._templates: set[str] = set()

    @property
    def url(self) -> str:
        """The DSN of the database `postgres`."""
        return self._server.url

    @property
    def socket_path(self) -> Path:
        """The socket it listens on, for a fault proxy in front of it."""
        return self._server.socket_path

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._server.pid

    async def make_template(self, name: str, prepare: Callable[[str], Awaitable[None]]) -> str:
        """Has a database prepared, the first time it is asked for, and returns its name.

        `prepare` is given the URL and must have closed its connections when it returns.
        """
        if name not in self._templates:
            await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await self._execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            await prepare(self._server.url_of(name))
            self._templates.add(name)
        return name

    @asynccontextmanager
    async def databases(self) -> AsyncGenerator[DatabaseFactory]:
        """A factory whose databases are dropped at the end, whoever is still connected."""
        made: list[str] = []

        async def make(template: str | None = None) -> str:
            name = f"test_{next(self._serial)}"
            await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"')
            made.append(name)
            return self._server.url_of(name)

        try:
            yield make
        finally:
            for name in made:
                await self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def serve_postgres() -> Generator[PostgresServer]:
    """Serves one in a new directory, which is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="warmpool-test-"))
    server = EmbeddedPostgres(directory, fast=True)
    try:
        server.start_blocking()
        yield PostgresServer(server)
    finally:
        server.stop_blocking()
        shutil.rmtree(directory, ignore_errors=True)
