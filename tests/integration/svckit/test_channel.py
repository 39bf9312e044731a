"""What a channel adds to calls, and what it must not take from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from svckit.auth import current_principal
from svckit.channel import open_channel
from svckit.server import GrpcServer
from svckit.telemetry import current_traceparent
from warmpool.control.v1 import pools_pb2, system_pb2
from warmpool.control.v1.pools_pb2_grpc import PoolServiceStub
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[tuple[GrpcServer, int]]]
Connect = Callable[..., grpc.aio.Channel]
WAIT_SECONDS = 10.0
SPAN = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(1))


async def principal(request: Any, context: Any) -> Any:
    return system_pb2.GetSystemResponse(version=str(current_principal.get()))


async def test_a_token_that_changes_is_asked_for_at_each_call(start: Start) -> None:
    _, port = await start(unary=principal)
    tokens = iter(["reader", "stranger"])
    async with open_channel(f"http://127.0.0.1:{port}", token=lambda: next(tokens)) as channel:
        stub = SystemServiceStub(channel)
        answer = await stub.GetSystem(system_pb2.GetSystemRequest(), timeout=WAIT_SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetSystem(system_pb2.GetSystemRequest(), timeout=WAIT_SECONDS)

    assert answer == system_pb2.GetSystemResponse(version="principal of reader")
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_no_proxy_comes_between_on_this_machine(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be sent the token in clear. What goes to another machine uses it as ever."""
    asked = asyncio.Event()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    proxy = await asyncio.start_server(ask, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:{1}".format(*proxy.sockets[0].getsockname()))
    _, port = await start()
    async with proxy:
        await SystemServiceStub(connect(port)).GetSystem(
            system_pb2.GetSystemRequest(), timeout=WAIT_SECONDS
        )
        assert not asked.is_set()
        async with open_channel("http://pool.test:1", token=None) as elsewhere:
            elsewhere.get_state(try_to_connect=True)
            async with asyncio.timeout(WAIT_SECONDS):
                await asked.wait()


async def test_a_call_may_bring_its_own_token(start: Start, connect: Connect) -> None:
    _, port = await start(unary=principal)

    answer = await SystemServiceStub(connect(port, token="stranger")).GetSystem(
        system_pb2.GetSystemRequest(),
        timeout=WAIT_SECONDS,
        metadata=(("authorization", "Bearer reader"),),
    )

    assert answer == system_pb2.GetSystemResponse(version="principal of reader")


async def test_a_unary_call_without_a_deadline_gets_one(
    start: Start, never: Callable[[Any, Any], Awaitable[Any]]
) -> None:
    _, port = await start(unary=never)
    async with open_channel(f"127.0.0.1:{port}", token="reader", unary_seconds_max=0.05) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SystemServiceStub(channel).GetSystem(system_pb2.GetSystemRequest())

    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_caller_who_gives_up_cancels_the_handler(start: Start, connect: Connect) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def behaviour(request: Any, context: Any) -> Any:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    _, port = await start(unary=behaviour)
    stub = SystemServiceStub(connect(port))

    async def call() -> None:
        await stub.GetSystem(system_pb2.GetSystemRequest(), timeout=WAIT_SECONDS)

    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
        calling = group.create_task(call())
        await entered.wait()
        calling.cancel()
        await cancelled.wait()


async def test_the_current_span_goes_along_and_is_current_in_a_stream(
    start: Start, connect: Connect
) -> None:
    async def behaviour(request: Any, context: Any) -> AsyncGenerator[Any]:
        pool = pools_pb2.Pool(last_error=current_traceparent())
        yield pools_pb2.WatchPoolsResponse(pools=[pool])

    _, port = await start(stream=behaviour)
    stub = PoolServiceStub(connect(port))

    with trace.use_span(NonRecordingSpan(SPAN)):
        stream = stub.WatchPools(pools_pb2.WatchPoolsRequest(), timeout=WAIT_SECONDS)
        told = [pool.last_error async for message in stream for pool in message.pools]

    assert told == [f"00-{0xABC:032x}-{0xDEF:016x}-01"]


async def test_who_has_no_span_sends_none(start: Start, connect: Connect) -> None:
    async def behaviour(request: Any, context: Any) -> AsyncGenerator[Any]:
        pool = pools_pb2.Pool(last_error=current_traceparent())
        yield pools_pb2.WatchPoolsResponse(pools=[pool])

    _, port = await start(stream=behaviour)
    stub = PoolServiceStub(connect(port))

    stream = stub.WatchPools(pools_pb2.WatchPoolsRequest(), timeout=WAIT_SECONDS)

    assert [pool.last_error async for message in stream for pool in message.pools] == [""]
