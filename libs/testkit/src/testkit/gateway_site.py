"""A gateway for tests: real, over real gRPC; a fake control plane behind it, a bus beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio
from opentelemetry.metrics import Meter, NoOpMeter

from agentgw.wiring.gateway import Gateway, GatewayPlan
from bus.api import Bus
from bus.events import PrebuildClaimed, encode_event
from bus.memory import MemoryBus
from bus.subjects import claims_subject
from svckit.channel import open_channel
from svckit.rungroup import RunGroup
from svckit.status import RemoteError, read_error
from svckit.system import SystemClock, SystemEntropy, new_id
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from warmpool.agent.v1 import agent_pb2
from warmpool.agent.v1.agent_pb2_grpc import AgentServiceStub
from warmpool.gateway.v1 import gateway_pb2

WORKSPACE = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b000"
OWNER = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b001"
CLAIM = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b002"
AGENT = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b003"
TOKEN = "the agent's token"
PATIENCE_SECONDS = 20.0

__all__ = [
    "AGENT",
    "CLAIM",
    "DELIVERABLE",
    "OWNER",
    "PATIENCE_SECONDS",
    "PENDING",
    "QUIET",
    "REINIT",
    "TOKEN",
    "UNCLAIMED",
    "WORKSPACE",
    "Site",
    "Stream",
    "collect_frames",
    "make_check",
    "read_end",
    "read_heartbeat",
    "serve_site",
]

# Nothing happens by time alone unless a test asks for it.
QUIET = GatewayPlan(
    heartbeat_seconds=300,
    sweep_seconds=3600,
    liveness_seconds=300,
    drain_window_seconds=0.1,
    drain_seconds=5.0,
)

Stream = grpc.aio.UnaryStreamCall[agent_pb2.WaitForReinitRequest, agent_pb2.WaitForReinitResponse]


def make_check(
    verdict: gateway_pb2.ReinitVerdict.ValueType, **changes: str
) -> gateway_pb2.AgentCheck:
    """What the control plane knows of the agent of these tests."""
    check = gateway_pb2.AgentCheck(verdict=verdict, agent_id=AGENT, workspace_id=WORKSPACE)
    if verdict not in (
        gateway_pb2.REINIT_VERDICT_UNCLAIMED,
        gateway_pb2.REINIT_VERDICT_NOT_A_PREBUILD,
    ):
        check.claim_id = CLAIM
    if verdict == gateway_pb2.REINIT_VERDICT_DELIVERABLE:
        check.owner_id = OWNER
        check.reason = "prebuild_claimed"
    for name, value in changes.items():
        setattr(check, name, value)
    return check


UNCLAIMED = make_check(gateway_pb2.REINIT_VERDICT_UNCLAIMED)
PENDING = make_check(gateway_pb2.REINIT_VERDICT_CLAIM_PENDING)
DELIVERABLE = make_check(gateway_pb2.REINIT_VERDICT_DELIVERABLE)
REINIT = agent_pb2.ReinitEvent(
    workspace_id=WORKSPACE, owner_id=OWNER, reason="prebuild_claimed", claim_id=CLAIM
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A gateway and what surrounds it."""

    backend: FakeGatewayBackend
    bus: Bus
    gateway: Gateway
    agents: AgentServiceStub
    port: int

    def open_stream(
        self, token: str = TOKEN, *, last_applied: str = ""
    ) -> grpc.aio.UnaryStreamCall[agent_pb2.WaitForReinitRequest, agent_pb2.WaitForReinitResponse]:
        """Opens a reinit stream as an agent does."""
        return self.agents.WaitForReinit(
            agent_pb2.WaitForReinitRequest(last_applied_claim_id=last_applied),
            metadata=(("authorization", f"Bearer {token}"),),
        )

    async def announce(self, workspace_id: str = WORKSPACE) -> None:
        """Publishes the claim event."""
        event = PrebuildClaimed(workspace_id=workspace_id, owner_id=OWNER, claim_id=CLAIM)
        await self.bus.publish(claims_subject(workspace_id), encode_event(event))

    async def until_waiting(self, count: int = 1) -> None:
        """Returns when so many agents have been told to wait and are owed nothing."""

        def check() -> None:
            assert self.gateway.sessions.waiting_count == count

        await eventually(check, seconds=PATIENCE_SECONDS)


@asynccontextmanager
async def serve_site(
    backend: FakeGatewayBackend,
    plan: GatewayPlan = QUIET,
    *,
    bus: Bus | None = None,
    channel: grpc.aio.Channel | None = None,
    meter: Meter | None = None,
) -> AsyncGenerator[Site]:
    """A gateway that serves, and a client of it, until the end; then it drains. `channel` is its
    way to the control plane, if it is not the straight one; it ends with the gateway.
    """
    bus = bus or MemoryBus()
    async with channel or open_channel(backend.address, token="the gateway's key") as channel:
        gateway = Gateway(
            plan,
            bus=bus,
            channel=channel,
            meter=meter or NoOpMeter("test"),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            gateway_id=new_id(),
        )
        async with RunGroup() as group:
            port = await gateway.start(group)
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as agents:
                    yield Site(
                        backend=backend,
                        bus=bus,
                        gateway=gateway,
                        agents=AgentServiceStub(agents),
                        port=port,
                    )
            finally:
                group.stopping.set()
                await gateway.stop()


async def collect_frames(stream: Stream) -> list[agent_pb2.WaitForReinitResponse]:
    """Every frame but the heartbeats, until the stream ends normally."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [frame async for frame in stream if not frame.HasField("heartbeat")]


async def read_heartbeat(stream: Stream) -> agent_pb2.StreamHeartbeat:
    """The next frame, which must be a heartbeat."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        frame = await anext(aiter(stream))
    assert frame.HasField("heartbeat"), frame
    return frame.heartbeat


async def read_end(stream: Stream) -> RemoteError:
    """The error a stream ends with; AssertionError if it ends normally or says anything first."""
    try:
        frames = await collect_frames(stream)
    except grpc.aio.AioRpcError as error:
        return read_error(error)
    raise AssertionError(f"the stream ended normally after {frames}")
