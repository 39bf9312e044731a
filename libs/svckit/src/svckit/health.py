"""The gRPC health service, v1: ours, and how to ask another's.

The stock one changes its state only from a coroutine; ours is told so from anywhere on the loop, so
that a drain begins at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from svckit.addresses import parse_listen
from svckit.cancellation import is_asked_to_end
from svckit.errors import StartFailed

__all__ = ["SERVICE_NAME", "Health", "health_probe", "serve_probes"]

SERVICE_NAME = "grpc.health.v1.Health"

_Request = health_pb2.HealthCheckRequest
_Response = health_pb2.HealthCheckResponse
_Context: TypeAlias = "grpc.aio.ServicerContext[_Request, _Response]"


class Health:
    """Answers health checks by name; "" is the server as a whole."""

    def __init__(self) -> None:
        """Know no name."""
        self._states: dict[str, _Response.ServingStatus] = {}
        self._changed = asyncio.Event()
        self.watchers = 0
        """How many callers are told of every change."""

    def set(self, name: str, serving: bool) -> None:
        """Say whether `name` serves, and wake who watches."""
        self._states[name] = _Response.SERVING if serving else _Response.NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to `server`."""
        handlers = {
            "Check": grpc.unary_unary_rpc_method_handler(
                self._check, _Request.FromString, _Response.SerializeToString
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self._watch, _Request.FromString, _Response.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)]
        )

    async def _check(self, request: _Request, context: _Context) -> _Response:
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of that name is here")
        return _Response(status=state)

    async def _watch(self, request: _Request, context: _Context) -> None:
        told: _Response.ServingStatus | None = None
        self.watchers += 1
        try:
            while True:
                changed = self._changed
                state = self._states.get(request.service, _Response.SERVICE_UNKNOWN)
                if state != told:
                    await context.write(_Response(status=state))
                    told = state
                await changed.wait()
        finally:
            self.watchers -= 1


async def serve_probes(health: Health, listen: str) -> tuple[grpc.aio.Server, int]:
    """A server of `health` and nothing else, in plain text, and its port.

    For probes that speak no TLS, such as those of Kubernetes. What it tells is no secret. Raises
    StartFailed for an unusable address.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health.register(server)
    try:
        parse_listen(listen)
        port = server.add_insecure_port(listen)
    except (RuntimeError, ValueError) as error:
        raise StartFailed(f"cannot answer probes on {listen}: {error}") from error
    await server.start()
    return server, port


def health_probe(channel: grpc.aio.Channel, seconds: float = 3.0) -> Callable[[], Awaitable[str]]:
    """A probe of whoever is at the other end: "", or why nothing can be had from it now."""
    check = channel.unary_unary(
        f"/{SERVICE_NAME}/Check", _Request.SerializeToString, _Response.FromString
    )

    async def probe() -> str:
        try:
            answer = await check(_Request(), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        except asyncio.CancelledError:
            if is_asked_to_end():
                raise
            return "CANCELLED: the connection was closed"
        return "" if answer.status == _Response.SERVING else "answers that it does not serve"

    return probe
