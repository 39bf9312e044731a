"""A nats-server per test session, and one of a test's own that may be mistreated."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from embedded import EmbeddedNats

__all__ = ["OwnNats", "own_nats", "serve_nats"]


class OwnNats:
    """A nats-server and what can befall it. Its URL stays the same throughout."""

    def __init__(self, server: EmbeddedNats) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """Where clients connect, token included."""
        return self._server.url

    @property
    def address(self) -> str:
        """The same as host:port, for a fault proxy in front of it."""
        return f"127.0.0.1:{self._server.port}"

    @property
    def pid(self) -> int:
        """The process id of the server; 0 while it is down."""
        return self._server.pid

    async def crash(self) -> None:
        """Ends it without a warning; connections are reset, new ones refused."""
        if self._server.pid:
            os.kill(self._server.pid, signal.SIGKILL)
        await self._server.stop()

    async def stop(self) -> None:
        """Ends it in order."""
        await self._server.stop()

    async def start(self) -> None:
        """Starts it again at the same address."""
        await self._server.start()

    def freeze(self) -> None:
        """Holds it still: connections stay open and nothing is answered. Returns when it stands: a
        thread that runs just then would answer what comes next.
        """
        os.kill(self._server.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._server.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Lets it go on."""
        os.kill(self._server.pid, signal.SIGCONT)


@asynccontextmanager
async def own_nats(directory: Path) -> AsyncGenerator[OwnNats]:
    """Serves one until the end, in whatever state it is then."""
    server = EmbeddedNats(directory)
    await server.start()
    try:
        yield OwnNats(server)
    finally:
        await server.stop()


@contextmanager
def serve_nats(directory: Path) -> Generator[EmbeddedNats]:
    """Serves one for a whole session."""
    server = EmbeddedNats(directory)
    server.start_blocking()
    try:
        yield server
    finally:
        server.stop_blocking()
