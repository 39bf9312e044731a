"""TLS in front of a Postgres that speaks none, as a pooler or a proxy puts it there.

The embedded Postgres is built without TLS. This answers the protocol's own request for encryption
with a certificate, and passes on what is in it; who does not ask for encryption is refused.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

__all__ = ["serve_postgres_tls"]

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
CHUNK_BYTES = 65_536


@asynccontextmanager
async def serve_postgres_tls(socket: Path, cert: Path, key: Path) -> AsyncGenerator[int]:
    """Serves on a port of the loopback interface, which it returns, until the block ends. The
    files are read at each connection.
    """
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        with closing(writer), suppress(OSError, EOFError):
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(cert, key)
            await writer.start_tls(context)
            within, out = await asyncio.open_unix_connection(socket)
            with closing(out):
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pass_on(reader, out))
                    group.create_task(_pass_on(within, writer))
        open_ones.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_ones:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()  # ends the other direction, too
