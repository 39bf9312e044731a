"""One replica goes and another one is there: callers do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from svckit.channel import open_channel
from svckit.errors import Unavailable
from svckit.server import GrpcServer
from testkit.eventually import eventually
from warmpool.control.v1 import system_pb2
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[tuple[GrpcServer, int]]]
Connect = Callable[..., grpc.aio.Channel]
WAIT_SECONDS = 20.0
REQUEST = system_pb2.GetSystemRequest()
SERVICE = "warmpool.control.v1.SystemService"


def named(name: str) -> Callable[[Any, Any], Awaitable[system_pb2.GetSystemResponse]]:
    async def answer(request: Any, context: Any) -> system_pb2.GetSystemResponse:
        return system_pb2.GetSystemResponse(version=name)

    return answer


async def test_callers_that_watch_health_are_served_until_they_have_left(start: Start) -> None:
    """Not one call fails, though none may be repeated."""
    first, first_port = await start(unary=named("first"))
    _, second_port = await start(unary=named("second"))
    address = f"ipv4:127.0.0.1:{first_port},127.0.0.1:{second_port}"

    async with open_channel(address, token="reader", spread=True) as channel:
        stub = SystemServiceStub(channel)
        served: list[str] = []

        async def call() -> None:
            answer = await stub.GetSystem(REQUEST, timeout=WAIT_SECONDS, wait_for_ready=not served)
            served.append(answer.version)

        async def both_serve() -> None:
            await call()
            assert set(served[-4:]) == {"first", "second"}

        await eventually(both_serve)
        async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
            stop = group.create_task(first.stop(WAIT_SECONDS))
            while not stop.done():
                await call()
        assert set(served[-4:]) == {"second"}


async def test_what_may_be_repeated_is_repeated_and_nothing_else(start: Start) -> None:
    asked: list[str] = []

    async def answer(request: Any, context: Any) -> system_pb2.GetSystemResponse:
        asked.append("")
        if len(asked) % 3:
            raise Unavailable("not now", reason="DRAINING", retry_after_seconds=1.0)
        return system_pb2.GetSystemResponse(version=str(len(asked)))

    _, port = await start(unary=answer)
    address = f"127.0.0.1:{port}"
    async with open_channel(address, token="reader", repeatable=[SERVICE]) as channel:
        answered = await SystemServiceStub(channel).GetSystem(REQUEST, timeout=WAIT_SECONDS)
    for repeatable in ([f"{SERVICE}/WhoAmI"], []):
        async with open_channel(address, token="reader", repeatable=repeatable) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await SystemServiceStub(channel).GetSystem(REQUEST, timeout=WAIT_SECONDS)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    assert answered.version == "3"
    assert len(asked) == 5


async def test_a_server_that_hangs_up_answers_what_it_has_and_sends_the_next_call_elsewhere(
    start: Start, connect: Connect
) -> None:
    entered, finish = asyncio.Event(), asyncio.Event()

    async def answer(request: Any, context: Any) -> system_pb2.GetSystemResponse:
        if not entered.is_set():
            entered.set()
            await finish.wait()
        return system_pb2.GetSystemResponse(version="first")

    first, port = await start(unary=answer, options=(("grpc.so_reuseport", 1),))
    channel = connect(port)
    stub = SystemServiceStub(channel)

    async def call() -> str:
        answer = await stub.GetSystem(REQUEST, timeout=WAIT_SECONDS, wait_for_ready=True)
        return answer.version

    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
        early = group.create_task(call())
        await entered.wait()
        await start(
            unary=named("second"),
            listen=f"127.0.0.1:{port}",
            options=(("grpc.so_reuseport", 1),),
        )
        hanging_up = group.create_task(first.hang_up(WAIT_SECONDS))
        await first.draining.wait()

        async def leads_elsewhere() -> None:
            try:
                assert await call() == "second"
            except grpc.aio.AioRpcError as error:  # it was on its way to the first
                raise AssertionError(error.code()) from error

        await eventually(leads_elsewhere)
        finish.set()
        assert await early == "first"
        await hanging_up
