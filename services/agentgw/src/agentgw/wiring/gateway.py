"""A gateway, put together: constructors in a straight line, loops, the server, and the way down.

The order at the start is part of promise 2: the subscription is known to the bus before the first
agent is let in. At the end agents are sent away first, and what they used is stopped after them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import grpc.aio
from opentelemetry.metrics import Meter

from agentgw.core.admission import Admission, AdmissionLimits
from agentgw.core.heartbeats import HeartbeatPace
from agentgw.core.liveness import LivenessBook
from agentgw.core.session_book import Lane
from agentgw.core.told_claims import ToldClaims
from agentgw.core.unknown_tokens import UnknownTokens
from agentgw.loops.drain import drain_sessions
from agentgw.loops.heartbeats import HeartbeatLoop
from agentgw.loops.hints import HintReader
from agentgw.loops.liveness import LivenessReporter
from agentgw.loops.reader import CheckReader
from agentgw.loops.recorder import Recorder
from agentgw.loops.sweeper import Sweeper
from agentgw.rpc.agents import AgentServicer
from agentgw.rpc.authorizer import AgentAuthorizer
from agentgw.rpc.control_plane import ControlPlane
from agentgw.store.metrics import GatewayMetrics
from agentgw.store.records import PendingRecords
from agentgw.store.sessions import Sessions
from bus.api import Bus
from svckit.readiness import Readiness
from svckit.rungroup import RunGroup
from svckit.server import GrpcServer
from svckit.system import Clock, Entropy
from svckit.tls import TlsSettings
from warmpool.agent.v1.agent_pb2_grpc import add_AgentServiceServicer_to_server

__all__ = ["Gateway", "GatewayPlan"]

ADMISSION_RETRY_SECONDS: Final = 1.0
VANISHED_GRACE_SECONDS: Final = 2.0  # an agent that lost its connection is back by then, or gone
PROBES_PERMITTED: Final = 6  # per probe of ours; who probes more often is cut off
STOP_GRACE_SECONDS: Final = 2.0  # for unary calls, once all streams have ended


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlan:
    """What makes one gateway differ from another; times in seconds."""

    listen: str = "127.0.0.1:0"
    health_listen: str = ""
    tls: TlsSettings | None = None
    reflection: bool = False
    reuse_port: bool = False
    # How often a silent connection is probed. Agents probe theirs twice as often: what they send
    # counts as a sign of life, so that this is for those that do not, and costs nothing for others.
    keepalive_seconds: float = 60.0
    keepalive_timeout_seconds: float = 10.0  # after which a peer that answers no probe is gone
    heartbeat_seconds: float = 55.0
    sweep_seconds: float = 25.0
    liveness_seconds: float = 15.0
    unknown_token_seconds: float = 1.0  # how long nobody looks again
    sessions_max: int = 20_000
    opens_per_second: float = 3_000.0
    opens_burst: int = 10_000
    drain_window_seconds: float = 3.0
    drain_seconds: float = 20.0


class Gateway:
    """One gateway process' worth of parts. Bus and channel belong to the caller."""

    def __init__(
        self,
        plan: GatewayPlan,
        *,
        bus: Bus,
        channel: grpc.aio.Channel,
        meter: Meter,
        clock: Clock,
        entropy: Entropy,
        gateway_id: UUID,
        readiness: Readiness | None = None,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._entropy = entropy
        metrics = GatewayMetrics(meter)
        unknown = UnknownTokens(keep_seconds=plan.unknown_token_seconds)
        told = ToldClaims()
        control_plane = ControlPlane(channel, gateway_id=str(gateway_id), clock=clock)
        self.records: Final = PendingRecords(metrics)
        liveness = LivenessBook(
            refresh_seconds=plan.liveness_seconds,
            grace_seconds=VANISHED_GRACE_SECONDS,
            agents_max=2 * plan.sessions_max,
        )
        limits = AdmissionLimits(
            sessions_max=plan.sessions_max,
            opens_per_second=plan.opens_per_second,
            opens_burst=plan.opens_burst,
            retry_seconds=ADMISSION_RETRY_SECONDS,
        )
        self.sessions: Final = Sessions(
            pace=HeartbeatPace(plan.heartbeat_seconds),
            admission=Admission(limits),
            liveness=liveness,
            records=self.records,
            metrics=metrics,
            clock=clock,
            entropy=entropy,
            unknown=unknown,
            told=told,
        )
        self._heartbeats = HeartbeatLoop(self.sessions, clock=clock)
        self._hints = HintReader(bus, self.sessions, metrics=metrics, clock=clock)
        self._readers = {
            lane: CheckReader(
                lane, control_plane, self.sessions, metrics=metrics, clock=clock, entropy=entropy
            )
            for lane in Lane
        }
        self._sweeper = Sweeper(self.sessions, interval_seconds=plan.sweep_seconds, clock=clock)
        self._recorder = Recorder(
            control_plane, self.records, self.sessions, clock=clock, entropy=entropy
        )
        self._liveness = LivenessReporter(
            control_plane, liveness, heartbeat_seconds=plan.liveness_seconds, clock=clock
        )
        servicer = AgentServicer(
            self.sessions,
            control_plane,
            liveness,
            self.records,
            liveness_seconds=plan.liveness_seconds,
            unknown=unknown,
            told=told,
            clock=clock,
        )
        self._server = GrpcServer(
            plan.listen,
            [lambda server: add_AgentServiceServicer_to_server(servicer, server)],
            AgentAuthorizer(unknown, metrics=metrics, clock=clock),
            plan.tls,
            plan.reflection,
            readiness=readiness,
            clock=clock,
            options=[
                *_storm_options(plan),
                *_keepalive_options(plan),
                ("grpc.so_reuseport", int(plan.reuse_port)),
            ],
            health_listen=plan.health_listen,
        )

    async def start(self, group: RunGroup) -> int:
        """Starts the loops and, once no hint can be missed unnoticed, the server. The port."""
        group.start("hints", self._hints.run)
        group.start("disturbances", self._hints.run_disturbances)
        for lane, reader in self._readers.items():
            group.start(f"reads-{lane.name.lower()}", reader.run)
        group.start("heartbeats", self._heartbeats.run)
        group.start("sweep", self._sweeper.run)
        group.start("records", self._recorder.run)
        group.start("liveness", self._liveness.run)
        await self._hints.subscribed.wait()
        return await self._server.start()

    async def stop(self) -> None:
        """Sends every agent elsewhere, then ends the server. Bounded by the plan's drain time.

        Calls are answered all the while, so that no agent sees an error. On a shared port the first
        step is to stop listening: otherwise an agent that comes back could find us again.
        """
        plan = self._plan
        self._server.announce_drain()
        async with asyncio.TaskGroup() as group:
            if plan.reuse_port:
                group.create_task(self._server.hang_up(plan.drain_seconds))
            await drain_sessions(
                self.sessions,
                admits=plan.reuse_port,
                window_seconds=min(plan.drain_window_seconds, plan.drain_seconds / 2),
                timeout_seconds=plan.drain_seconds,
                clock=self._clock,
                entropy=self._entropy,
            )
        await self._server.hang_up(STOP_GRACE_SECONDS)
        while len(self.records) and await self._recorder.run_once():
            pass


def _storm_options(plan: GatewayPlan) -> list[tuple[str, int]]:
    """Lets everybody who may be held wait for admission, which answers with a time to come back.

    By default gRPC cancels, at random, what comes while a thousand streams await their handler.
    """
    return [
        ("grpc.server.max_pending_requests", plan.sessions_max),
        ("grpc.server.max_pending_requests_hard_limit", 2 * plan.sessions_max),
        # Measuring the bandwidth to an agent costs a ping for every request; they are all small.
        ("grpc.http2.bdp_probe", 0),
    ]


def _keepalive_options(plan: GatewayPlan) -> list[tuple[str, int]]:
    """How a peer that froze, or lost its network, is noticed; agents probe more often themselves.
    A heartbeat that is not received finds a dead network, too, after the same timeout.
    """
    timeout_ms = int(plan.keepalive_timeout_seconds * 1000)
    return [
        ("grpc.keepalive_time_ms", int(plan.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            int(plan.keepalive_seconds * 1000 / PROBES_PERMITTED),
        ),
    ]
