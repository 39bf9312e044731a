"""Many replicas behind one name, as a headless service shows them, and probes in plain text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from svckit.channel import open_channel
from svckit.server import GrpcServer
from svckit.tls import ClientTls, TlsSettings
from testkit.certificates import make_identity
from testkit.eventually import eventually
from warmpool.control.v1 import pools_pb2, system_pb2
from warmpool.control.v1.pools_pb2_grpc import PoolServiceStub
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[tuple[GrpcServer, int]]]
WAIT_SECONDS = 20.0


def named(name: str) -> Callable[[Any, Any], Awaitable[system_pb2.GetSystemResponse]]:
    async def answer(request: Any, context: Any) -> system_pb2.GetSystemResponse:
        return system_pb2.GetSystemResponse(version=name)

    return answer


async def check(channel: grpc.aio.Channel, name: str) -> int:
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    answer = await method(health_pb2.HealthCheckRequest(service=name), timeout=WAIT_SECONDS)
    return answer.status


async def test_calls_are_spread_over_the_replicas_that_serve(start: Start) -> None:
    first, first_port = await start(unary=named("first"))
    _, second_port = await start(unary=named("second"))
    address = f"ipv4:127.0.0.1:{first_port},127.0.0.1:{second_port}"

    async with open_channel(address, token="reader", spread=True) as channel:
        stub = SystemServiceStub(channel)

        async def answers() -> set[str]:
            request = system_pb2.GetSystemRequest()
            return {
                (await stub.GetSystem(request, timeout=WAIT_SECONDS, wait_for_ready=True)).version
                for _ in range(4)
            }

        async def served_by(*names: str) -> None:
            try:
                assert await answers() == set(names)
            except grpc.aio.AioRpcError as error:  # a drain that the channel has not heard of yet
                raise AssertionError(error.code()) from error

        await eventually(lambda: served_by("first", "second"))
        first.set_serving(False)
        await eventually(lambda: served_by("second"))
        first.set_serving(True)
        await eventually(lambda: served_by("first", "second"))


async def test_a_connection_grows_old_and_its_streams_stay(start: Start) -> None:
    """So callers look their peers up again and find new replicas, and no stream is cut."""
    more = asyncio.Event()
    peers: set[str] = set()

    async def answer(request: Any, context: Any) -> system_pb2.GetSystemResponse:
        peers.add(context.peer())
        return system_pb2.GetSystemResponse()

    async def two(request: Any, context: Any) -> AsyncGenerator[pools_pb2.WatchPoolsResponse]:
        peers.add(context.peer())
        yield pools_pb2.WatchPoolsResponse()
        await more.wait()
        yield pools_pb2.WatchPoolsResponse()

    options = (("grpc.max_connection_age_ms", 200),)
    _, port = await start(unary=answer, stream=two, options=options)
    async with open_channel(f"127.0.0.1:{port}", token="reader", spread=True) as channel:
        stream = PoolServiceStub(channel).WatchPools(
            pools_pb2.WatchPoolsRequest(), timeout=WAIT_SECONDS
        )
        responses = aiter(stream)
        await anext(responses)

        async def another_connection() -> None:
            await SystemServiceStub(channel).GetSystem(
                system_pb2.GetSystemRequest(), timeout=WAIT_SECONDS, wait_for_ready=True
            )
            assert len(peers) >= 3

        await eventually(another_connection)
        more.set()
        assert [response async for response in responses] == [pools_pb2.WatchPoolsResponse()]


async def test_probes_are_answered_in_plain_text_until_the_drain_has_ended(
    start: Start, tmp_path: Path
) -> None:
    entered, finish = asyncio.Event(), asyncio.Event()

    async def answer(request: Any, context: Any) -> system_pb2.GetSystemResponse:
        entered.set()
        await finish.wait()
        return system_pb2.GetSystemResponse()

    own = make_identity(tmp_path, "server")
    server, port = await start(
        unary=answer,
        tls=TlsSettings(own.cert_file, own.key_file),
        health_listen="127.0.0.1:0",
    )
    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    names = ("", "live", "warmpool.control.v1.SystemService")
    tls = ClientTls(ca_file=own.cert_file)
    async with (
        open_channel(f"127.0.0.1:{server.health_port}", token=None) as probe,
        open_channel(f"127.0.0.1:{port}", token="reader", tls=tls) as channel,
        asyncio.timeout(WAIT_SECONDS),
        asyncio.TaskGroup() as group,
    ):
        assert [await check(probe, name) for name in names] == [serving, serving, serving]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SystemServiceStub(probe).GetSystem(system_pb2.GetSystemRequest(), timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED

        async def call() -> None:
            await SystemServiceStub(channel).GetSystem(system_pb2.GetSystemRequest(), timeout=20)

        group.create_task(call())
        await entered.wait()
        stop = group.create_task(server.stop(WAIT_SECONDS))
        await server.draining.wait()
        assert [await check(probe, name) for name in names] == [not_serving, serving, not_serving]
        finish.set()
        await stop
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await check(probe, "live")
        assert gone.value.code() == grpc.StatusCode.UNAVAILABLE
