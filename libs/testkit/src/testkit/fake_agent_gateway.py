"""A gateway that says what a test tells it to say, on a real grpc.aio server.

`FakeAgentGateway` records every request and lets a test script the rest: `streams` holds what each
next reinit stream does (frames, silence, an error), `failures` what the next calls of a method end
with, `manifest` what the agent is given. A stream that nothing was scripted for sends heartbeats
until it ends; once it has delivered a claim that was acknowledged, it refuses as the real one does.
Never cleverer than the contract otherwise: it knows no claims and checks no order.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from warmpool.agent.v1 import agent_pb2 as pb
from warmpool.agent.v1 import agent_pb2_grpc
from warmpool.common.v1 import types_pb2 as types

__all__ = [
    "Ended",
    "FakeAgentGateway",
    "Silence",
    "fake_agent_gateway",
    "heartbeat",
    "reconnect",
    "reinit",
]

_PATIENCE_SECONDS = 20.0
_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The call ends with this status."""

    code: grpc.StatusCode
    reason: str = ""
    retry_after_seconds: float | None = None
    message: str = "scripted"


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing more is ever said on this stream; `broken` is set once it is cancelled."""

    broken: asyncio.Event = field(default_factory=asyncio.Event)


_SETTLED = (types.REINIT_PHASE_APPLIED, types.REINIT_PHASE_FAILED)
_ALREADY_APPLIED = Ended(code=grpc.StatusCode.FAILED_PRECONDITION, reason="CLAIM_ALREADY_APPLIED")
Step = pb.WaitForReinitResponse | Ended | Silence


def heartbeat(interval_ms: int) -> pb.WaitForReinitResponse:
    """A frame that proves that the stream lives."""
    return pb.WaitForReinitResponse(heartbeat=pb.StreamHeartbeat(interval_ms=interval_ms))


def reinit(claim_id: str, owner_id: str) -> pb.WaitForReinitResponse:
    """A frame that delivers a claim of the fake's workspace."""
    event = pb.ReinitEvent(
        workspace_id="workspace-1",
        owner_id=owner_id,
        reason="prebuild_claimed",
        claim_id=claim_id,
    )
    return pb.WaitForReinitResponse(reinit=event)


def reconnect(after_ms: int) -> pb.WaitForReinitResponse:
    """A frame that sends the agent to another stream."""
    return pb.WaitForReinitResponse(reconnect=pb.StreamReconnect(after_ms=after_ms))


class FakeAgentGateway(agent_pb2_grpc.AgentServiceServicer):
    """The scripted service. Made by `fake_agent_gateway`."""

    def __init__(self) -> None:
        self.port = 0
        self.server: grpc.aio.Server | None = None
        self.manifest = pb.GetManifestResponse(
            agent_id="agent-1",
            agent_name="main",
            workspace_id="workspace-1",
            workspace_name="prebuild-1",
            owner_id="prebuilds",
            owner_name="prebuilds",
            is_prebuild=True,
        )
        self.heartbeat_ms = 60_000
        self.liveness_ms = 60_000
        self.streams: deque[Sequence[Step]] = deque()
        """What the next reinit streams do; a stream without an `Ended` or `Silence` ends well."""
        self.failures: defaultdict[str, deque[Ended]] = defaultdict(deque)
        """What the next calls end with, by method name."""
        self.tokens: set[str] = set()
        self.waits: list[pb.WaitForReinitRequest] = []
        self.peers: list[str] = []
        """The connection of each reinit stream that was opened."""
        self.acks: list[pb.AcknowledgeReinitRequest] = []
        self.lifecycles: list[pb.ReportLifecycleRequest] = []
        self.liveness: list[pb.ReportLivenessRequest] = []
        self.lines: list[types.LogLine] = []
        self.manifests_given = 0
        self.logs_are_full = False
        self.open_streams = 0
        self._changed = asyncio.Condition()
        self._ending = asyncio.Event()
        self._last_frame: pb.WaitForReinitResponse | None = None

    async def stop(self) -> None:
        """Goes away: every call ends, nobody listens any more."""
        assert self.server is not None
        await self.server.stop(None)

    async def until(self, condition: Callable[[FakeAgentGateway], bool]) -> None:
        """Waits until a condition on what was recorded holds; looks whenever something changed."""
        async with asyncio.timeout(_PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    def phases(self) -> list[tuple[str, str]]:
        """The acknowledgements as (claim id, phase)."""
        prefix = "REINIT_PHASE_"
        return [
            (ack.claim_id, types.ReinitPhase.Name(ack.phase).removeprefix(prefix))
            for ack in self.acks
        ]

    def states(self) -> list[str]:
        """The lifecycles, without their prefix."""
        prefix = "AGENT_LIFECYCLE_"
        return [
            types.AgentLifecycle.Name(report.lifecycle).removeprefix(prefix)
            for report in self.lifecycles
        ]

    def claim(self, claim_id: str, owner: str, **changes: str) -> None:
        """The workspace goes to `owner` (id and name alike): the manifest says so from now on, and
        every unscripted stream, open or to come, delivers the event and ends.
        """
        self.manifest.owner_id = self.manifest.owner_name = owner
        self.manifest.is_prebuild = False
        self.manifest.claim_id = claim_id
        self.manifest.env.update(changes)
        self.announce(reinit(claim_id, owner))

    def announce(self, frame: pb.WaitForReinitResponse | None) -> None:
        """Every unscripted stream, open or to come, says this and ends."""
        self._last_frame = frame
        self._ending.set()

    def add_script(
        self,
        name: str,
        text: str,
        *,
        on_stop: bool = False,
        timeout_seconds: int = 0,
        log_path: str = "",
    ) -> None:
        """Adds a script to the manifest, run at the start unless told otherwise."""
        self.manifest.scripts.add(
            display_name=name,
            script=text,
            run_on_start=not on_stop,
            run_on_stop=on_stop,
            timeout_seconds=timeout_seconds,
            log_path=log_path,
        )

    async def WaitForReinit(
        self,
        request: pb.WaitForReinitRequest,
        context: grpc.aio.ServicerContext[
            pb.WaitForReinitRequest, AsyncIterator[pb.WaitForReinitResponse]
        ],
    ) -> AsyncGenerator[pb.WaitForReinitResponse]:
        """See the contract."""
        await self._fail_if_told("WaitForReinit", context)
        self.peers.append(context.peer())
        await self._record(self.waits, request)
        self.open_streams += 1
        try:
            if not self.streams:
                if self._is_settled():
                    await _end(context, _ALREADY_APPLIED)
                async for frame in self._beat():
                    yield frame
                return
            for step in self.streams.popleft():
                match step:
                    case pb.WaitForReinitResponse():
                        yield step
                    case Ended():
                        await _end(context, step)
                    case Silence():
                        try:
                            await asyncio.Event().wait()
                        finally:
                            step.broken.set()
        finally:
            self.open_streams -= 1

    async def AcknowledgeReinit(
        self,
        request: pb.AcknowledgeReinitRequest,
        context: grpc.aio.ServicerContext[
            pb.AcknowledgeReinitRequest, Awaitable[pb.AcknowledgeReinitResponse]
        ],
    ) -> pb.AcknowledgeReinitResponse:
        """See the contract."""
        await self._fail_if_told("AcknowledgeReinit", context)
        await self._record(self.acks, request)
        return pb.AcknowledgeReinitResponse()

    async def GetManifest(
        self,
        request: pb.GetManifestRequest,
        context: grpc.aio.ServicerContext[pb.GetManifestRequest, Awaitable[pb.GetManifestResponse]],
    ) -> pb.GetManifestResponse:
        """See the contract."""
        await self._fail_if_told("GetManifest", context)
        async with self._changed:
            self.manifests_given += 1
            self._changed.notify_all()
        return self.manifest

    async def ReportLifecycle(
        self,
        request: pb.ReportLifecycleRequest,
        context: grpc.aio.ServicerContext[
            pb.ReportLifecycleRequest, Awaitable[pb.ReportLifecycleResponse]
        ],
    ) -> pb.ReportLifecycleResponse:
        """See the contract."""
        await self._fail_if_told("ReportLifecycle", context)
        await self._record(self.lifecycles, request)
        return pb.ReportLifecycleResponse()

    async def ReportLiveness(
        self,
        request: pb.ReportLivenessRequest,
        context: grpc.aio.ServicerContext[
            pb.ReportLivenessRequest, Awaitable[pb.ReportLivenessResponse]
        ],
    ) -> pb.ReportLivenessResponse:
        """See the contract."""
        await self._fail_if_told("ReportLiveness", context)
        await self._record(self.liveness, request)
        return pb.ReportLivenessResponse(interval_ms=self.liveness_ms)

    async def SendLogs(
        self,
        request: pb.SendLogsRequest,
        context: grpc.aio.ServicerContext[pb.SendLogsRequest, Awaitable[pb.SendLogsResponse]],
    ) -> pb.SendLogsResponse:
        """See the contract."""
        await self._fail_if_told("SendLogs", context)
        async with self._changed:
            self.lines.extend(request.lines)
            self._changed.notify_all()
        return pb.SendLogsResponse(truncated=self.logs_are_full)

    async def _beat(self) -> AsyncGenerator[pb.WaitForReinitResponse]:
        while not self._ending.is_set():
            yield heartbeat(self.heartbeat_ms)
            try:
                async with asyncio.timeout(self.heartbeat_ms / 1_000):
                    await self._ending.wait()
            except TimeoutError:
                continue
        if self._last_frame is not None:
            yield self._last_frame

    def _is_settled(self) -> bool:
        """Whether the claim that every stream delivers was acknowledged as applied or failed."""
        claim_id = self._last_frame.reinit.claim_id if self._last_frame is not None else ""
        return any(ack.claim_id == claim_id and ack.phase in _SETTLED for ack in self.acks)

    async def _record(self, requests: list[_Request], request: _Request) -> None:
        async with self._changed:
            requests.append(request)
            self._changed.notify_all()

    async def _fail_if_told(
        self, method: str, context: grpc.aio.ServicerContext[_Request, _Response]
    ) -> None:
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                self.tokens.add(str(value).removeprefix("Bearer "))
        if failures := self.failures[method]:
            await _end(context, failures.popleft())


async def _end(context: grpc.aio.ServicerContext[_Request, _Response], ended: Ended) -> NoReturn:
    status = Status(code=ended.code.value[0], message=ended.message)
    if ended.reason:
        status.details.append(_pack(ErrorInfo(reason=ended.reason, domain="warmpool")))
    if ended.retry_after_seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(int(ended.retry_after_seconds * 1_000))
        status.details.append(_pack(RetryInfo(retry_delay=delay)))
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(ended.code, ended.message, details)


def _pack(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


@asynccontextmanager
async def fake_agent_gateway(
    *, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> AsyncGenerator[FakeAgentGateway]:
    """Serves a fake on the loopback, with TLS if it has credentials; at the end every call is
    cancelled.
    """
    gateway = FakeAgentGateway()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    agent_pb2_grpc.add_AgentServiceServicer_to_server(gateway, server)
    gateway.server = server
    address = f"127.0.0.1:{port}"
    if credentials is None:
        gateway.port = server.add_insecure_port(address)
    else:
        gateway.port = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield gateway
    finally:
        await server.stop(None)
