"""The floor of every call: a bare grpc.aio server in a process of its own, without interceptors.

`python -m testkit.bench_echo PORT_FILE RESPONSE_BYTES [BEAT_SECONDS [OPTIONS]]` answers
`/bare.Echo/Call` with that many bytes; `/bare.Echo/Hold` sends one message, then holds the stream
until `/bare.Echo/Fire` with the stream's request, and sends another. With BEAT_SECONDS it sends
`BEAT` on every held stream once in that time, spread evenly, from one loop: the least that
heartbeats cost. OPTIONS are gRPC's for the server, as a JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from svckit.addresses import write_port_file

__all__ = ["BEAT", "CALL", "FIRE", "HOLD"]

CALL = "/bare.Echo/Call"
HOLD = "/bare.Echo/Hold"
FIRE = "/bare.Echo/Fire"
BEAT: Final = b"\x0a\x04\x08\xd8\xad\x03"  # as many bytes as a gateway's heartbeat
BEATS_PER_SECOND: Final = 2  # as often as a gateway looks who is due


@dataclass(slots=True)
class _Held:
    woken: asyncio.Future[None]
    is_fired: bool = False

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class _Echo:
    def __init__(self, response: bytes) -> None:
        self._response = response
        self._held: dict[bytes, _Held] = {}

    async def call(self, request: bytes, context: object) -> bytes:
        return self._response

    async def hold(self, request: bytes, context: object) -> AsyncGenerator[bytes]:
        loop = asyncio.get_running_loop()
        self._held[request] = held = _Held(loop.create_future())
        yield self._response
        while True:
            await held.woken
            if held.is_fired:
                break
            held.woken = loop.create_future()
            yield BEAT
        yield self._response

    async def fire(self, request: bytes, context: object) -> bytes:
        held = self._held.pop(request, None)
        if held is not None:
            held.is_fired = True
            held.wake()
        return b""

    async def beat(self, interval_seconds: float) -> None:
        """Wakes every stream once per interval, a slice of them at a time."""
        slices = max(1, int(interval_seconds * BEATS_PER_SECOND))
        while True:
            for number in range(slices):
                await asyncio.sleep(interval_seconds / slices)
                for held in list(self._held.values())[number::slices]:
                    held.wake()


async def _serve(
    port_file: Path, response: bytes, beat_seconds: float, options: dict[str, int]
) -> None:
    echo = _Echo(response)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *options.items()])
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
    write_port_file(port_file, port)
    async with asyncio.TaskGroup() as tasks:
        if beat_seconds:
            tasks.create_task(echo.beat(beat_seconds))
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(
        _serve(
            Path(sys.argv[1]),
            b"x" * int(sys.argv[2]),
            float(sys.argv[3]) if len(sys.argv) > 3 else 0.0,
            json.loads(sys.argv[4]) if len(sys.argv) > 4 else {},
        )
    )
