"""The real control plane as gateways see it, GatewayService on a real database, over real gRPC.

It remembers what it was told, and can keep back the answers to log lines that it has stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from reconciler.rpc.gateway import GatewayServicer
from svckit.auth import Authorizer
from svckit.server import GrpcServer
from testkit.pool_world import PoolWorld, RecordedHints
from warmpool.gateway.v1 import gateway_pb2 as pb
from warmpool.gateway.v1.gateway_pb2_grpc import add_GatewayServiceServicer_to_server

__all__ = ["GatewayPlane", "serve_plane"]


class GatewayPlane(GatewayServicer):
    """Made by `serve_plane`."""

    def __init__(self, world: PoolWorld) -> None:
        super().__init__(world.agents, RecordedHints(), world.clock)
        self.address = ""
        self.liveness: list[pb.RecordLivenessRequest] = []
        self.logs: list[pb.RecordAgentLogsRequest] = []
        self.manifests_count = 0
        self.may_answer_logs = asyncio.Event()
        self.may_answer_logs.set()
        self._told = asyncio.Condition()

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Returns when what it was told, and has recorded, makes the condition true."""
        async with asyncio.timeout(seconds), self._told:
            await self._told.wait_for(condition)

    async def RecordLiveness(
        self, request: pb.RecordLivenessRequest, context: object
    ) -> pb.RecordLivenessResponse:
        response = await super().RecordLiveness(request, context)
        self.liveness.append(request)
        await self._tell()
        return response

    async def RecordAgentLogs(
        self, request: pb.RecordAgentLogsRequest, context: object
    ) -> pb.RecordAgentLogsResponse:
        response = await super().RecordAgentLogs(request, context)
        self.logs.append(request)
        await self._tell()
        await self.may_answer_logs.wait()
        return response

    async def GetManifest(
        self, request: pb.GetManifestRequest, context: object
    ) -> pb.GetManifestResponse:
        self.manifests_count += 1
        return await super().GetManifest(request, context)

    async def _tell(self) -> None:
        async with self._told:
            self._told.notify_all()


class _AnyGateway(Authorizer):
    async def authorize(self, method: str, permission: str, token: str | None) -> object:
        return None


@asynccontextmanager
async def serve_plane(world: PoolWorld) -> AsyncGenerator[GatewayPlane]:
    """Serves one on a free loopback port until the end."""
    plane = GatewayPlane(world)
    server = GrpcServer(
        "127.0.0.1:0",
        [lambda server: add_GatewayServiceServicer_to_server(plane, server)],
        _AnyGateway(),
    )
    plane.address = f"127.0.0.1:{await server.start()}"
    try:
        yield plane
    finally:
        plane.may_answer_logs.set()
        await server.stop(0)
