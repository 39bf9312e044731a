"""A control plane for gateways: GatewayService over real gRPC, with a memory instead of a database.

It answers from what a test has put into it, records what it was asked, and can be told to hold its
answers or to fail. It is never cleverer than the contract: verdicts are set, not derived, except
that an acknowledged claim is `ALREADY_APPLIED` from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from svckit.auth import hash_token
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2 as pb
from warmpool.gateway.v1.gateway_pb2_grpc import (
    GatewayServiceServicer,
    add_GatewayServiceServicer_to_server,
)

__all__ = ["FakeGatewayBackend", "fake_gateway_backend"]

AGE_MS_MAX = 120_000  # no test takes longer

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(slots=True)
class _Failure:
    code: grpc.StatusCode
    text: str


@dataclass(slots=True)
class FakeGatewayBackend(GatewayServiceServicer):
    """The control plane. Change it between calls; `changed` tells that something was asked."""

    address: str = ""
    calls: int = 0
    """How many came, of any method."""
    checks: list[tuple[bytes, ...]] = field(default_factory=list[tuple[bytes, ...]])
    """The hashes of every CheckAgents that was answered or refused, in order."""
    reinits: list[pb.ReinitRecord] = field(default_factory=list[pb.ReinitRecord])
    """The steps that were recorded, without their ages."""
    reinit_calls: int = 0
    """How many RecordReinits came, with an effect or not yet."""
    lifecycles: list[pb.RecordLifecycleRequest] = field(
        default_factory=list[pb.RecordLifecycleRequest]
    )
    liveness: list[pb.RecordLivenessRequest] = field(default_factory=list[pb.RecordLivenessRequest])
    logs: list[pb.RecordAgentLogsRequest] = field(default_factory=list[pb.RecordAgentLogsRequest])
    authorizations: set[str] = field(default_factory=set[str])
    _agents: dict[bytes, pb.AgentCheck] = field(default_factory=dict[bytes, pb.AgentCheck])
    _manifests: dict[bytes, pb.AgentManifest] = field(default_factory=dict[bytes, pb.AgentManifest])
    _failure: _Failure | None = None
    _may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    _may_record: asyncio.Event = field(default_factory=asyncio.Event)
    _may_confirm: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        for gate in (self._may_answer, self._may_record, self._may_confirm):
            gate.set()

    def put_agent(self, token: str, check: pb.AgentCheck) -> None:
        """What is known of the agent with this token from now on."""
        self._agents[hash_token(token)] = check

    def put_manifest(self, token: str, manifest: pb.AgentManifest) -> None:
        """What this agent has to run."""
        self._manifests[hash_token(token)] = manifest

    def fail(self, code: grpc.StatusCode, text: str = "as told") -> None:
        """Every call fails so until `recover`."""
        self._failure = _Failure(code, text)

    def recover(self) -> None:
        """Calls are answered again."""
        self._failure = None

    def hold_answers(self) -> None:
        """A CheckAgents reads what it finds and does not answer until `release_answers`."""
        self._may_answer.clear()

    def hold_records(self) -> None:
        """What a RecordReinits says has no effect until `release_answers`."""
        self._may_record.clear()

    def hold_confirmations(self) -> None:
        """What a RecordReinits says has its effect, and is not answered until `release_answers`."""
        self._may_confirm.clear()

    def release_answers(self) -> None:
        """What was held is answered, as it was read."""
        for gate in (self._may_answer, self._may_record, self._may_confirm):
            gate.set()

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Returns when a call has made the condition true; TimeoutError if none does."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    def connected_tokens(self) -> set[bytes]:
        """The hashes that were reported connected and not reported gone since."""
        connected: set[bytes] = set()
        for report in self.liveness:
            connected |= set(report.connected)
            connected -= set(report.disconnected)
        return connected

    async def CheckAgents(
        self, request: pb.CheckAgentsRequest, context: Context
    ) -> pb.CheckAgentsResponse:
        """Reads now, answers when allowed."""
        unknown = pb.AgentCheck(verdict=pb.REINIT_VERDICT_UNKNOWN_TOKEN)
        response = pb.CheckAgentsResponse(
            checks=[self._agents.get(one, unknown) for one in request.token_hashes]
        )
        self.checks.append(tuple(request.token_hashes))
        await self._enter(context)
        await self._may_answer.wait()
        return response

    async def RecordReinits(
        self, request: pb.RecordReinitsRequest, context: Context
    ) -> pb.RecordReinitsResponse:
        """Accepts steps of the claim that is known of the agent."""
        await self._enter(context)
        self.reinit_calls += 1
        await self._tell()
        await self._may_record.wait()
        accepted: list[bool] = []
        for record in request.records:
            check = self._agents.get(record.token_hash)
            is_known = check is not None and check.claim_id == record.claim_id
            if check is not None and is_known and record.phase == types_pb2.REINIT_PHASE_APPLIED:
                applied = pb.AgentCheck()
                applied.CopyFrom(check)
                applied.verdict = pb.REINIT_VERDICT_ALREADY_APPLIED
                self._agents[record.token_hash] = applied
            accepted.append(is_known)
            assert 0 <= record.age_ms < AGE_MS_MAX, record
            record.ClearField("age_ms")
            self.reinits.append(record)
        await self._tell()
        await self._may_confirm.wait()
        return pb.RecordReinitsResponse(accepted=accepted)

    async def GetManifest(
        self, request: pb.GetManifestRequest, context: Context
    ) -> pb.GetManifestResponse:
        """The manifest that was put, when allowed."""
        await self._enter(context)
        await self._may_answer.wait()
        manifest = self._manifests.get(request.token_hash)
        if manifest is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such agent")
        return pb.GetManifestResponse(manifest=manifest)

    async def RecordLifecycle(
        self, request: pb.RecordLifecycleRequest, context: Context
    ) -> pb.RecordLifecycleResponse:
        """Keeps it."""
        await self._enter(context)
        self.lifecycles.append(request)
        await self._tell()
        return pb.RecordLifecycleResponse()

    async def RecordLiveness(
        self, request: pb.RecordLivenessRequest, context: Context
    ) -> pb.RecordLivenessResponse:
        """Keeps it."""
        await self._enter(context)
        self.liveness.append(request)
        await self._tell()
        return pb.RecordLivenessResponse()

    async def RecordAgentLogs(
        self, request: pb.RecordAgentLogsRequest, context: Context
    ) -> pb.RecordAgentLogsResponse:
        """Keeps it; the log is full after the tenth call."""
        await self._enter(context)
        self.logs.append(request)
        await self._tell()
        return pb.RecordAgentLogsResponse(truncated=len(self.logs) > 10)

    async def _enter(self, context: Context) -> None:
        self.calls += 1
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                self.authorizations.add(str(value))
        await self._tell()
        if self._failure is not None:
            await context.abort(self._failure.code, self._failure.text)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def fake_gateway_backend() -> AsyncGenerator[FakeGatewayBackend]:
    """Serves one on a free loopback port until the end."""
    backend = FakeGatewayBackend()
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            # tests probe their connections more often than anybody else
            ("grpc.http2.min_ping_interval_without_data_ms", 100),
        ]
    )
    add_GatewayServiceServicer_to_server(backend, server)
    backend.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield backend
    finally:
        backend.release_answers()
        await server.stop(0)
