"""The floor of a claim: the same calls, messages and commits between as many processes, and nothing
else: no interceptors, no rules, and the shortest statements there are.

`python -m testkit.bench_chain control PORT_FILE DATABASE_URL NATS_URL` stands for the control
plane, `python -m testkit.bench_chain gate PORT_FILE CONTROL_ADDRESS NATS_URL` for a gateway, at
which agents wait as at `bench_echo`. A claim is the token of its agent:

    client  -> control   Claim     one commit
    control -> worker    Jobs      one commit, then a message on the worker's stream
    worker  -> control   Done      one commit, then an event on NATS
    gate    -> control   Check     one row read
    gate    -> agent     Hold      a message on the agent's stream
    agent   -> gate      Call      APPLYING, answered at once
    agent   -> gate      Call      APPLIED, answered after
    gate    -> control   Record    one commit
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
import grpc
import grpc.aio
from nats.aio.client import Client
from nats.aio.msg import Msg

from svckit.addresses import write_port_file
from warmpool.agent.v1.agent_pb2 import AcknowledgeReinitRequest
from warmpool.common.v1 import types_pb2

__all__ = ["CLAIM", "DONE", "JOBS", "TABLE"]

CLAIM: Final = "/bare.Chain/Claim"
JOBS: Final = "/bare.Chain/Jobs"
DONE: Final = "/bare.Chain/Done"
CHECK: Final = "/bare.Chain/Check"
RECORD: Final = "/bare.Chain/Record"
TABLE: Final = "CREATE TABLE bare_chain (token text PRIMARY KEY, step int NOT NULL)"
STEP: Final = "UPDATE bare_chain SET step = $2 WHERE token = $1"
LOOK: Final = "SELECT step FROM bare_chain WHERE token = $1"
SUBJECT: Final = "bare.claims"
CONNECTIONS: Final = 16

_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
_Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class _Control:
    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], bus: Client) -> None:
        self._pool = pool
        self._bus = bus
        self._jobs: asyncio.Queue[bytes] = asyncio.Queue()

    async def claim(self, token: bytes, context: object) -> bytes:
        await self._pool.execute(STEP, token.decode(), 1)
        self._jobs.put_nowait(token)
        return token

    async def jobs(self, request: bytes, context: object) -> AsyncGenerator[bytes]:
        while True:
            token = await self._jobs.get()
            await self._pool.execute(STEP, token.decode(), 2)
            yield token

    async def done(self, token: bytes, context: object) -> bytes:
        await self._pool.execute(STEP, token.decode(), 3)
        await self._bus.publish(SUBJECT, token)
        return token

    async def check(self, token: bytes, context: object) -> bytes:
        assert await self._pool.fetchval(LOOK, token.decode()) == 3
        return token

    async def record(self, token: bytes, context: object) -> bytes:
        await self._pool.execute(STEP, token.decode(), 4)
        return token


class _Gate:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._check: _Call = channel.unary_unary(CHECK)
        self._record: _Call = channel.unary_unary(RECORD)
        self._held: dict[bytes, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def hear(self, message: Msg) -> None:
        task = asyncio.create_task(self._deliver(message.data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, token: bytes) -> None:
        await self._check(token)
        self._held.pop(token).set()

    async def hold(self, token: bytes, context: object) -> AsyncGenerator[bytes]:
        self._held[token] = fired = asyncio.Event()
        yield token
        await fired.wait()
        yield token

    async def call(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        phase = AcknowledgeReinitRequest.FromString(request).phase
        if phase == types_pb2.REINIT_PHASE_APPLIED:
            metadata = dict(context.invocation_metadata() or ())
            await self._record(str(metadata["authorization"]).removeprefix("Bearer ").encode())
        return b""


async def _serve(port_file: Path, service: str, handlers: Mapping[str, _Handler]) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, dict(handlers))])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    write_port_file(port_file, port)
    await server.wait_for_termination()


async def _connect(url: str) -> Client:
    bus = Client()
    await bus.connect(url)  # pyright: ignore[reportUnknownMemberType] -- untyped options of nats-py
    return bus


async def _control(port_file: Path, database_url: str, nats_url: str) -> None:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=CONNECTIONS) as pool:
        control = _Control(pool, await _connect(nats_url))
        handlers: dict[str, _Handler] = {
            "Claim": grpc.unary_unary_rpc_method_handler(control.claim),
            "Jobs": grpc.unary_stream_rpc_method_handler(control.jobs),
            "Done": grpc.unary_unary_rpc_method_handler(control.done),
            "Check": grpc.unary_unary_rpc_method_handler(control.check),
            "Record": grpc.unary_unary_rpc_method_handler(control.record),
        }
        await _serve(port_file, "bare.Chain", handlers)


async def _gate(port_file: Path, control_address: str, nats_url: str) -> None:
    async with grpc.aio.insecure_channel(control_address) as channel:
        gate = _Gate(channel)
        bus = await _connect(nats_url)
        # nats-py leaves the type of a future that it takes open
        await bus.subscribe(SUBJECT, cb=gate.hear)  # pyright: ignore[reportUnknownMemberType]
        await bus.flush()
        handlers: dict[str, _Handler] = {
            "Call": grpc.unary_unary_rpc_method_handler(gate.call),
            "Hold": grpc.unary_stream_rpc_method_handler(gate.hold),
        }
        await _serve(port_file, "bare.Echo", handlers)


if __name__ == "__main__":
    role = {"control": _control, "gate": _gate}[sys.argv[1]]
    asyncio.run(role(Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
