"""A TCP proxy that can be told to misbehave, between a client and a real server.

Every fault but `strand` holds for all connections, present and future, until it is taken back:

    async with fault_proxy("127.0.0.1:4222") as proxy:
        client = await connect(proxy.address)
        proxy.freeze()          # nothing gets through, nothing is closed: a network partition
        proxy.thaw()
        proxy.strand()          # what is open is forgotten on the way: half-open, for ever
        proxy.cut()             # every connection is reset
        proxy.half_close()      # the client reads an end, the server knows nothing of it
        proxy.hold_ends = True  # what either says is passed on, that it ended is not
        proxy.refuse = True     # who connects now is reset at once
        proxy.delay_seconds = 0.2
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

__all__ = ["FaultProxy", "fault_proxy"]

_CHUNK_BYTES = 65_536
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    flowing: asyncio.Event

    def reset(self) -> None:
        for writer in (self.client, self.server):
            _reset(writer)


class FaultProxy:
    """The proxy and its controls. Made by `fault_proxy`."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.delay_seconds = 0.0  # added to every piece that is passed on, in both directions
        self.refuse = False
        self.hold_ends = False  # of connections that end from now on
        self.port = 0
        self.accepted_count = 0
        self.passed_bytes = 0
        self.taken_bytes = 0  # read from either side, passed on or not
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[_Connection] = set()

    @property
    def address(self) -> str:
        """Where clients connect, as host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def connections_count(self) -> int:
        """How many connections pass through it now."""
        return len(self._connections)

    def freeze(self) -> None:
        """Holds everything back, in both directions, and closes nothing. New connections too."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Passes on what was held back, and goes on."""
        self._flowing.set()

    def strand(self) -> None:
        """Passes nothing on any more for those that are connected, and tells neither side, as when
        something between them forgot the connection. New ones are welcome.
        """
        for connection in self._connections:
            connection.flowing.clear()

    def cut(self) -> None:
        """Resets every connection on both sides; new ones are welcome."""
        for connection in tuple(self._connections):
            connection.reset()

    def half_close(self) -> None:
        """Ends every connection towards the client only."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.client.write_eof()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes one connection on until one side resets it or both have ended."""
        self.accepted_count += 1
        try:
            await self._flowing.wait()
            if self.refuse:
                _reset(writer)
                return
            from_server, to_server = await self._connect()
        except OSError:
            _reset(writer)
            return
        flowing = asyncio.Event()
        flowing.set()
        connection = _Connection(client=writer, server=to_server, flowing=flowing)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, to_server, flowing))
                group.create_task(self._pass_on(from_server, writer, flowing))
        except* (OSError, RuntimeError):  # RuntimeError: written to after it was half-closed
            await flowing.wait()  # what became of a stranded side, the other never learns
            connection.reset()
        finally:
            self._connections.discard(connection)
            for each in (writer, to_server):
                each.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.upstream.startswith("/"):
            return await asyncio.open_unix_connection(self.upstream)
        host, _, port = self.upstream.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        while piece := await reader.read(_CHUNK_BYTES):
            self.taken_bytes += len(piece)
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            await self._flowing.wait()
            await flowing.wait()
            writer.write(piece)
            await writer.drain()
            self.passed_bytes += len(piece)
        await self._flowing.wait()
        await flowing.wait()
        if self.hold_ends:
            await asyncio.get_running_loop().create_future()  # until the proxy ends
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncGenerator[FaultProxy]:
    """Listens on a loopback port of its own. `upstream` is host:port or a Unix socket's path."""
    proxy = FaultProxy(upstream)
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        served.add(task)
        try:
            await proxy.serve(reader, writer)
        finally:
            served.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = cast("tuple[str, int]", server.sockets[0].getsockname())[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        for task in tuple(served):
            task.cancel()
        if served:
            await asyncio.wait(served)
        await server.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = cast("socket.socket | None", writer.get_extra_info("socket"))
    if sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()
