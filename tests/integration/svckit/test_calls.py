"""What a caller is told: answers, statuses with details, refusals."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from svckit import errors
from svckit.auth import current_principal
from svckit.errors import StartFailed
from svckit.server import GrpcServer
from svckit.status import RemoteError, read_error
from warmpool.control.v1 import pools_pb2, system_pb2
from warmpool.control.v1.pools_pb2_grpc import PoolServiceStub
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[tuple[GrpcServer, int]]]
Connect = Callable[..., grpc.aio.Channel]
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
GET_SYSTEM = "/warmpool.control.v1.SystemService/GetSystem"


def same(message: bytes) -> bytes:
    return message


async def refusal(call: Awaitable[object]) -> RemoteError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return read_error(caught.value)


def get_system(channel: grpc.aio.Channel) -> Awaitable[system_pb2.GetSystemResponse]:
    return SystemServiceStub(channel).GetSystem(system_pb2.GetSystemRequest(), timeout=10)


def failing(error: Exception) -> Callable[[Any, Any], Awaitable[Any]]:
    async def behaviour(request: Any, context: Any) -> Any:
        raise error

    return behaviour


async def test_the_handler_sees_the_principal_its_caller_gets_the_answer(
    start: Start, connect: Connect
) -> None:
    async def behaviour(request: Any, context: Any) -> Any:
        return system_pb2.GetSystemResponse(version=str(current_principal.get()))

    _, port = await start(unary=behaviour)

    answer = await get_system(connect(port))

    assert answer == system_pb2.GetSystemResponse(version="principal of reader")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            errors.InvalidArgument(
                "name is empty: allowed are 1 to 32 letters", reason="NAME", field="spec.name"
            ),
            RemoteError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "name is empty: allowed are 1 to 32 letters",
                "NAME",
                "spec.name",
            ),
        ),
        (
            errors.ResourceExhausted("too many", metadata={"max": "3"}, retry_after_seconds=1.5),
            RemoteError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "too many",
                "RESOURCE_EXHAUSTED",
                metadata={"max": "3"},
                retry_after_seconds=1.5,
            ),
        ),
        (
            errors.Internal("the books do not balance"),
            RemoteError(grpc.StatusCode.INTERNAL, "the books do not balance", "INTERNAL"),
        ),
        (
            ValueError("secret=hunter2"),
            RemoteError(
                grpc.StatusCode.INTERNAL,
                "internal error; the server's log has the details",
                "INTERNAL",
            ),
        ),
    ],
)
async def test_an_error_arrives_as_its_status_with_details(
    start: Start, connect: Connect, error: Exception, told: RemoteError
) -> None:
    _, port = await start(unary=failing(error))

    assert await refusal(get_system(connect(port))) == told


async def test_a_stream_tells_what_it_has_and_then_its_error(
    start: Start, connect: Connect
) -> None:
    async def behaviour(request: Any, context: Any) -> AsyncGenerator[Any]:
        yield pools_pb2.WatchPoolsResponse(reconciliation_paused=True)
        raise errors.NotFound("the template is gone", reason="TEMPLATE_UNKNOWN")

    _, port = await start(stream=behaviour)
    call = PoolServiceStub(connect(port)).WatchPools(pools_pb2.WatchPoolsRequest(), timeout=10)

    assert await call.read() == pools_pb2.WatchPoolsResponse(reconciliation_paused=True)
    assert await refusal(call.read()) == RemoteError(
        grpc.StatusCode.NOT_FOUND, "the template is gone", "TEMPLATE_UNKNOWN"
    )


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (
            None,
            RemoteError(grpc.StatusCode.UNAUTHENTICATED, "the token is unknown", "TOKEN_UNKNOWN"),
        ),
        (
            "nobody",
            RemoteError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{GET_SYSTEM} needs system.read",
                "PERMISSION_DENIED",
                metadata={"needs": "system.read"},
            ),
        ),
    ],
)
async def test_who_may_not_is_refused(
    start: Start, connect: Connect, token: str | None, told: RemoteError
) -> None:
    _, port = await start(unary=failing(AssertionError("the handler must not run")))

    assert await refusal(get_system(connect(port, token=token))) == told


async def test_a_method_without_a_permission_is_refused_for_everybody(
    start: Start, connect: Connect
) -> None:
    _, port = await start()
    method = "/warmpool.test.v1.Undeclared/Call"
    call = connect(port).unary_unary(method, same, same)

    assert await refusal(call(b"", timeout=10)) == RemoteError(
        grpc.StatusCode.PERMISSION_DENIED,
        f"{method} declares no permission, so nobody may call it",
        "PERMISSION_UNDECLARED",
        metadata={"method": method},
    )


async def test_health_and_reflection_need_no_token(start: Start, connect: Connect) -> None:
    _, port = await start(reflection=True)
    channel = connect(port, token=None)
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    reflect = channel.stream_stream(REFLECT, same, same)

    states = [
        await check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        for name in ("", "live", "warmpool.control.v1.SystemService")
    ]
    list_services = b"\x3a\x00"  # ServerReflectionRequest(list_services="")
    answers = [answer async for answer in reflect(iter([list_services]), timeout=10)]

    assert states == [health_pb2.HealthCheckResponse(status=1)] * 3
    assert [b"warmpool.control.v1.SystemService" in answer for answer in answers] == [True]


async def test_reflection_is_off_unless_asked_for(start: Start, connect: Connect) -> None:
    _, port = await start()
    reflect = connect(port).stream_stream(REFLECT, same, same)

    error = await refusal(reflect(iter([b"\x3a\x00"]), timeout=10).read())

    assert error.code == grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_without_a_deadline_is_bounded_by_the_server(
    start: Start, connect: Connect, never: Callable[[Any, Any], Awaitable[Any]]
) -> None:
    _, port = await start(unary=never, unary_seconds_max=0.05)

    assert await refusal(get_system(connect(port))) == RemoteError(
        grpc.StatusCode.DEADLINE_EXCEEDED, f"{GET_SYSTEM} took longer than 0.05 s"
    )


async def test_a_taken_port_is_one_clear_failure(start: Start) -> None:
    _, port = await start()
    second = GrpcServer(f"127.0.0.1:{port}", [], authorizer=NoOne())

    with pytest.raises(StartFailed, match=rf"^cannot listen on 127\.0\.0\.1:{port}: "):
        await second.start()


async def test_an_option_of_a_service_beats_the_standard_one(connect: Connect) -> None:
    small = [("grpc.max_receive_message_length", 8)]
    server = GrpcServer("127.0.0.1:0", [], NoOne(), options=small)
    port = await server.start()
    check = connect(port).unary_unary("/grpc.health.v1.Health/Check", same, same)

    try:
        error = await refusal(check(b"\x0a\x10" + b"x" * 16, timeout=10))
    finally:
        await server.stop(0)

    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED


class NoOne:
    """Refuses everybody."""

    async def authorize(self, method: str, permission: str, token: str | None) -> object:
        raise errors.Unauthenticated("nobody is known")
