"""AgentService: what an agent in a workspace may ask."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import grpc.aio

from agentgw.core.liveness import LivenessBook
from agentgw.core.records import Phase
from agentgw.core.told_claims import ToldClaims
from agentgw.core.unknown_tokens import UnknownTokens
from agentgw.rpc.authorizer import current_token_hash
from agentgw.rpc.control_plane import ControlPlane
from agentgw.store.records import PendingRecords
from agentgw.store.sessions import Sessions
from agentgw.wire.agents import (
    decode_acknowledgement,
    decode_last_applied,
    encode_agent_logs,
    encode_frame,
    encode_lifecycle,
    encode_manifest,
)
from svckit.errors import FailedPrecondition, Unauthenticated, Unavailable
from svckit.system import Clock
from warmpool.agent.v1 import agent_pb2
from warmpool.agent.v1.agent_pb2_grpc import AgentServiceServicer

__all__ = ["AgentServicer"]

FULL_RETRY_SECONDS: Final = 5.0
FORWARDED_MAX: Final = 1_000  # calls that wait for the control plane, whoever makes them

Context = grpc.aio.ServicerContext[Any, Any]


class AgentServicer(AgentServiceServicer):
    """Streams come from the sessions, everything else goes to the control plane."""

    def __init__(
        self,
        sessions: Sessions,
        control_plane: ControlPlane,
        liveness: LivenessBook,
        records: PendingRecords,
        *,
        liveness_seconds: float,
        unknown: UnknownTokens,
        told: ToldClaims,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._control_plane = control_plane
        self._liveness = liveness
        self._records = records
        self._unknown = unknown
        self._told = told
        self._clock = clock
        self._heartbeat = encode_frame(sessions.heartbeat)
        self._liveness_ms = int(liveness_seconds * 1000)
        self._forwarded = 0

    async def WaitForReinit(  # pyright: ignore[reportIncompatibleMethodOverride] -- see below
        self, request: agent_pb2.WaitForReinitRequest, context: Context
    ) -> None:
        """Holds the stream until there is something to tell.

        It writes rather than yields: a generator per stream would cost memory and a hop per frame.
        """
        session = self._sessions.open(
            current_token_hash(), last_applied_claim_id=decode_last_applied(request)
        )
        heartbeat = self._sessions.heartbeat
        try:
            while (frame := await session.next_frame(heartbeat)) is not None:
                is_beat = frame is heartbeat
                await context.write(self._heartbeat if is_beat else encode_frame(frame))
        finally:
            self._sessions.close(session)

    async def AcknowledgeReinit(
        self, request: agent_pb2.AcknowledgeReinitRequest, context: Context
    ) -> agent_pb2.AcknowledgeReinitResponse:
        """Records how far the agent is; returns when an end is durable.

        APPLYING is only a time: once it is known that the claim is the agent's, nobody waits for it
        to be recorded, and an agent that could lose it would not begin any later for that.
        """
        record = decode_acknowledgement(
            request, current_token_hash(), at_seconds=self._clock.monotonic()
        )
        if record.phase is Phase.APPLYING and self._told.take(record.token_hash, record.claim_id):
            self._records.add(record)
        elif not await self._records.record(record):
            raise FailedPrecondition(
                f"claim_id {record.claim_id}: is not a claim of this agent",
                reason="CLAIM_UNKNOWN",
                field="claim_id",
            )
        return agent_pb2.AcknowledgeReinitResponse()

    async def GetManifest(
        self, request: agent_pb2.GetManifestRequest, context: Context
    ) -> agent_pb2.GetManifestResponse:
        """Reads what the agent has to run."""
        with self._forwarding():
            return encode_manifest(await self._control_plane.read_manifest(current_token_hash()))

    async def ReportLifecycle(
        self, request: agent_pb2.ReportLifecycleRequest, context: Context
    ) -> agent_pb2.ReportLifecycleResponse:
        """Records what the agent says of itself."""
        lifecycle = encode_lifecycle(request, current_token_hash())
        with self._forwarding():
            await self._control_plane.record_lifecycle(lifecycle)
        return agent_pb2.ReportLifecycleResponse()

    async def ReportLiveness(
        self, request: agent_pb2.ReportLivenessRequest, context: Context
    ) -> agent_pb2.ReportLivenessResponse:
        """Notes that the agent lives; it is reported with the others."""
        if not self._liveness.hear(current_token_hash()):
            raise Unavailable(
                "too many agents report at once",
                reason="TOO_MANY_AGENTS",
                retry_after_seconds=FULL_RETRY_SECONDS,
            )
        return agent_pb2.ReportLivenessResponse(interval_ms=self._liveness_ms)

    async def SendLogs(
        self, request: agent_pb2.SendLogsRequest, context: Context
    ) -> agent_pb2.SendLogsResponse:
        """Stores lines of the agent's scripts."""
        logs = encode_agent_logs(request, current_token_hash())
        with self._forwarding():
            is_full = await self._control_plane.record_agent_logs(logs)
        return agent_pb2.SendLogsResponse(truncated=is_full)

    @contextmanager
    def _forwarding(self) -> Generator[None]:
        """A call that is handed on: any token is, as only the control plane knows the real ones."""
        if self._forwarded >= FORWARDED_MAX:
            raise Unavailable(
                "too many calls wait for the control plane",
                reason="TOO_MANY_CALLS",
                retry_after_seconds=FULL_RETRY_SECONDS,
            )
        self._forwarded += 1
        try:
            yield
        except Unauthenticated:
            self._unknown.note(current_token_hash(), now_seconds=self._clock.monotonic())
            raise
        finally:
            self._forwarded -= 1
