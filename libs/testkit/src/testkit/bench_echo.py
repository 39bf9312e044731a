"""The floor of every call: a bare grpc.aio server in a process of its own, without interceptors.

`python -m testkit.bench_echo PORT_FILE RESPONSE_BYTES` answers `/bare.Echo/Call` with that many
bytes; `/bare.Echo/Hold` sends one message, then holds the stream until `/bare.Echo/Fire` with the
stream's request, and sends another.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc
import grpc.aio

__all__ = ["CALL", "FIRE", "HOLD"]

CALL = "/bare.Echo/Call"
HOLD = "/bare.Echo/Hold"
FIRE = "/bare.Echo/Fire"


class _Echo:
    def __init__(self, response: bytes) -> None:
        self._response = response
        self._held: dict[bytes, asyncio.Future[None]] = {}

    async def call(self, request: bytes, context: object) -> bytes:
        return self._response

    async def hold(self, request: bytes, context: object) -> AsyncGenerator[bytes]:
        self._held[request] = fired = asyncio.get_running_loop().create_future()
        yield self._response
        await fired
        yield self._response

    async def fire(self, request: bytes, context: object) -> bytes:
        fired = self._held.pop(request, None)
        if fired is not None:
            fired.set_result(None)
        return b""


async def _serve(port_file: Path, response: bytes) -> None:
    echo = _Echo(response)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "bare.Echo",
                {
                    "Call": grpc.unary_unary_rpc_method_handler(echo.call),
                    "Hold": grpc.unary_stream_rpc_method_handler(echo.hold),
                    "Fire": grpc.unary_unary_rpc_method_handler(echo.fire),
                },
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    part = port_file.with_suffix(".part")
    part.write_text(f"{port}\n")
    part.replace(port_file)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), b"x" * int(sys.argv[2])))
