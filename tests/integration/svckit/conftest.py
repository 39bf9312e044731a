"""A server on a real socket, and channels to it.

`start(unary=…, stream=…)` serves SystemService.GetSystem and PoolService.WatchPools with the given
behaviours; `connect(port, token=…)` opens a channel. Both end with the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
import pytest

from svckit.channel import ClientTls, open_channel
from svckit.errors import PermissionDenied, Unauthenticated
from svckit.server import GrpcServer, TlsSettings
from warmpool.control.v1 import pools_pb2, system_pb2

Behaviour = Callable[[Any, Any], Any]


class TokenTable:
    """Knows two tokens: "reader" may read the system and pools, "nobody" may nothing."""

    async def authorize(self, method: str, permission: str, token: str | None) -> object:
        if token not in {"reader", "nobody"}:
            raise Unauthenticated("the token is unknown", reason="TOKEN_UNKNOWN")
        if token == "nobody" or permission not in {"system.read", "pool.read"}:
            raise PermissionDenied(f"{method} needs {permission}", metadata={"needs": permission})
        return f"principal of {token}"


def _registration(
    service: str, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
) -> Callable[[grpc.aio.Server], None]:
    def register(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])

    return register


@pytest.fixture
async def start() -> AsyncGenerator[Callable[..., Awaitable[tuple[GrpcServer, int]]]]:
    async def answer(request: Any, context: Any) -> Any:
        return system_pb2.GetSystemResponse(version="1")

    async def tick(request: Any, context: Any) -> AsyncGenerator[Any]:
        yield pools_pb2.WatchPoolsResponse()

    async with AsyncExitStack() as stack:

        async def start_server(
            *,
            unary: Behaviour = answer,
            stream: Behaviour = tick,
            tls: TlsSettings | None = None,
            reflection: bool = False,
            unary_seconds_max: float = 30.0,
            options: tuple[tuple[str, int], ...] = (),
            health_listen: str = "",
            listen: str = "127.0.0.1:0",
        ) -> tuple[GrpcServer, int]:
            get_system = grpc.unary_unary_rpc_method_handler(
                unary,
                system_pb2.GetSystemRequest.FromString,
                system_pb2.GetSystemResponse.SerializeToString,
            )
            watch_pools = grpc.unary_stream_rpc_method_handler(
                stream,
                pools_pb2.WatchPoolsRequest.FromString,
                pools_pb2.WatchPoolsResponse.SerializeToString,
            )
            services = [
                _registration("warmpool.control.v1.SystemService", {"GetSystem": get_system}),
                _registration("warmpool.control.v1.PoolService", {"WatchPools": watch_pools}),
                # In no proto, so without a permission.
                _registration("warmpool.test.v1.Undeclared", {"Call": get_system}),
            ]
            server = GrpcServer(
                listen,
                services,
                TokenTable(),
                tls,
                reflection,
                unary_seconds_max=unary_seconds_max,
                options=options,
                health_listen=health_listen,
            )
            port = await server.start()
            stack.push_async_callback(server.stop, 0)
            return server, port

        yield start_server


@pytest.fixture
async def connect() -> AsyncGenerator[Callable[..., grpc.aio.Channel]]:
    async with AsyncExitStack() as stack:

        def connect_to(
            port: int, *, token: str | None = "reader", tls: ClientTls | None = None
        ) -> grpc.aio.Channel:
            channel = open_channel(f"127.0.0.1:{port}", token=token, tls=tls)
            stack.push_async_callback(channel.close)
            return channel

        yield connect_to


@pytest.fixture
def never() -> Behaviour:
    """A unary behaviour that ends only by cancellation."""

    async def behaviour(request: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    return behaviour
