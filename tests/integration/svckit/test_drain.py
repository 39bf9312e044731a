"""How a server ends: nothing new, what runs finishes in time, and everything is cleaned up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from svckit.server import GrpcServer
from svckit.status import RemoteError, read_error
from warmpool.control.v1 import pools_pb2, system_pb2
from warmpool.control.v1.pools_pb2_grpc import PoolServiceStub
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[tuple[GrpcServer, int]]]
Connect = Callable[..., grpc.aio.Channel]
WAIT_SECONDS = 10.0


class Job:
    """A unary call that tells when it entered and left, and ends when told."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.finish = asyncio.Event()
        self.left: list[str] = []

    async def serve(self, request: Any, context: Any) -> Any:
        self.entered.set()
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.left.append("cancelled")
            raise
        finally:
            for _ in range(20):  # a clean-up that needs several turns of the loop
                await asyncio.sleep(0)
            self.left.append("clean")
        return system_pb2.GetSystemResponse(version="done")


async def call(channel: grpc.aio.Channel) -> system_pb2.GetSystemResponse:
    stub = SystemServiceStub(channel)
    return await stub.GetSystem(system_pb2.GetSystemRequest(), timeout=WAIT_SECONDS)


async def check(channel: grpc.aio.Channel, name: str) -> int:
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    answer = await method(health_pb2.HealthCheckRequest(service=name), timeout=WAIT_SECONDS)
    return answer.status


async def test_draining_refuses_new_calls_and_finishes_those_under_way(
    start: Start, connect: Connect
) -> None:
    job = Job()
    server, port = await start(unary=job.serve)
    channel = connect(port)

    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
        old = group.create_task(call(channel))
        await job.entered.wait()
        stop = group.create_task(server.stop(WAIT_SECONDS))
        await server.draining.wait()

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel)
        states = [await check(channel, name) for name in ("", "live")]
        assert not stop.done()
        job.finish.set()

    assert read_error(caught.value) == RemoteError(
        grpc.StatusCode.UNAVAILABLE,
        "the server is shutting down: try again, another one takes over",
        "DRAINING",
        retry_after_seconds=1.0,
    )
    assert states == [
        health_pb2.HealthCheckResponse.NOT_SERVING,
        health_pb2.HealthCheckResponse.SERVING,
    ]
    assert old.result() == system_pb2.GetSystemResponse(version="done")
    assert job.left == ["clean"]


async def test_a_call_that_outlives_the_grace_is_cancelled_and_cleaned_up_before_stop_returns(
    start: Start, connect: Connect
) -> None:
    job = Job()
    server, port = await start(unary=job.serve)
    channel = connect(port)

    async def refused() -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel)
        return caught.value.code()

    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
        old = group.create_task(refused())
        await job.entered.wait()
        await server.stop(0.05)
        assert job.left == ["cancelled", "clean"]

    assert old.result() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def test_a_drain_can_be_undone(start: Start, connect: Connect) -> None:
    server, port = await start()
    channel = connect(port)

    server.set_serving(False)
    with pytest.raises(grpc.aio.AioRpcError):
        await call(channel)
    server.set_serving(True)

    assert await call(channel) == system_pb2.GetSystemResponse(version="1")
    assert not server.draining.is_set()


async def test_who_watches_health_hears_of_the_drain(start: Start, connect: Connect) -> None:
    server, port = await start()
    watch = connect(port, token=None).unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    states = watch(health_pb2.HealthCheckRequest(), timeout=WAIT_SECONDS)

    first = await states.read()
    server.set_serving(False)
    second = await states.read()
    states.cancel()

    assert [first, second] == [
        health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING),
        health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING),
    ]


async def test_a_stream_says_goodbye_when_the_drain_begins(start: Start, connect: Connect) -> None:
    async def behaviour(request: Any, context: Any) -> AsyncGenerator[Any]:
        yield pools_pb2.WatchPoolsResponse()
        await server.draining.wait()
        yield pools_pb2.WatchPoolsResponse(reconciliation_paused=True)

    server, port = await start(stream=behaviour)
    stub = PoolServiceStub(connect(port))
    stream = stub.WatchPools(pools_pb2.WatchPoolsRequest(), timeout=WAIT_SECONDS)
    first = await stream.read()

    await server.stop(WAIT_SECONDS)

    rest = [message async for message in stream]
    assert [first, *rest] == [
        pools_pb2.WatchPoolsResponse(),
        pools_pb2.WatchPoolsResponse(reconciliation_paused=True),
    ]
    assert await stream.code() == grpc.StatusCode.OK


async def test_a_stream_whose_client_leaves_is_cleaned_up(start: Start, connect: Connect) -> None:
    cleaned = asyncio.Event()

    async def behaviour(request: Any, context: Any) -> AsyncGenerator[Any]:
        try:
            yield pools_pb2.WatchPoolsResponse()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    _, port = await start(stream=behaviour)
    stub = PoolServiceStub(connect(port))
    stream = stub.WatchPools(pools_pb2.WatchPoolsRequest(), timeout=WAIT_SECONDS)
    await stream.read()

    stream.cancel()

    async with asyncio.timeout(WAIT_SECONDS):
        await cleaned.wait()


async def test_a_stream_whose_client_does_not_read_is_cleaned_up_before_stop_returns(
    start: Start, connect: Connect
) -> None:
    cleaned = asyncio.Event()
    pool = pools_pb2.Pool(last_error="x" * 100_000)

    async def behaviour(request: Any, context: Any) -> AsyncGenerator[Any]:
        try:
            while True:  # until the flow control of the connection holds the writer back
                yield pools_pb2.WatchPoolsResponse(pools=[pool])
        finally:
            for _ in range(20):  # a clean-up that needs several turns of the loop
                await asyncio.sleep(0)
            cleaned.set()

    server, port = await start(stream=behaviour)
    stub = PoolServiceStub(connect(port))
    stream = stub.WatchPools(pools_pb2.WatchPoolsRequest(), timeout=WAIT_SECONDS)
    await stream.read()

    await server.stop(0.2)

    assert cleaned.is_set()
    stream.cancel()
