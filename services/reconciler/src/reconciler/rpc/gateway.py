"""The gateways' API: durable truth about agents, in batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from reconciler.core.claims import Verdict
from reconciler.core.hints import Hints
from reconciler.store.gateway import Agents, Check, ReinitStep
from reconciler.wire.jobs import decode_lines
from reconciler.wire.values import decode_time, decode_uuid
from svckit.errors import InvalidArgument
from svckit.log import get_logger
from svckit.system import Clock
from warmpool.common.v1 import types_pb2 as common
from warmpool.gateway.v1 import gateway_pb2 as pb
from warmpool.gateway.v1 import gateway_pb2_grpc as rpc

__all__ = ["GatewayServicer"]

LOG = get_logger(__name__)
BATCH_MAX = 2000
LINES_MAX = 1000
ERROR_CHARS_MAX = 4096
AGE_MS_MAX = 24 * 3_600_000
REASON = "prebuild_claimed"

VERDICTS: Final[Mapping[Verdict, pb.ReinitVerdict.ValueType]] = {
    Verdict.UNKNOWN_TOKEN: pb.REINIT_VERDICT_UNKNOWN_TOKEN,
    Verdict.NOT_A_PREBUILD: pb.REINIT_VERDICT_NOT_A_PREBUILD,
    Verdict.UNCLAIMED: pb.REINIT_VERDICT_UNCLAIMED,
    Verdict.CLAIM_PENDING: pb.REINIT_VERDICT_CLAIM_PENDING,
    Verdict.DELIVERABLE: pb.REINIT_VERDICT_DELIVERABLE,
    Verdict.CLAIM_BUILD_FAILED: pb.REINIT_VERDICT_CLAIM_BUILD_FAILED,
    Verdict.ALREADY_APPLIED: pb.REINIT_VERDICT_ALREADY_APPLIED,
}
STEPS: Final[Mapping[int, str]] = {
    common.REINIT_PHASE_APPLYING: "applying",
    common.REINIT_PHASE_APPLIED: "applied",
    common.REINIT_PHASE_FAILED: "failed",
}
LIFECYCLES: Final[Mapping[int, str]] = {
    common.AGENT_LIFECYCLE_CREATED: "created",
    common.AGENT_LIFECYCLE_STARTING: "starting",
    common.AGENT_LIFECYCLE_READY: "ready",
    common.AGENT_LIFECYCLE_START_ERROR: "start_error",
    common.AGENT_LIFECYCLE_START_TIMEOUT: "start_timeout",
    common.AGENT_LIFECYCLE_SHUTTING_DOWN: "shutting_down",
    common.AGENT_LIFECYCLE_OFF: "off",
}


class GatewayServicer(rpc.GatewayServiceServicer):
    """Implements GatewayService."""

    def __init__(self, agents: Agents, hints: Hints, clock: Clock) -> None:
        self._agents = agents
        self._hints = hints
        self._clock = clock

    async def CheckAgents(
        self, request: pb.CheckAgentsRequest, context: object
    ) -> pb.CheckAgentsResponse:
        _check_size("token_hashes", len(request.token_hashes))
        checks = await self._agents.check(request.token_hashes)
        return pb.CheckAgentsResponse(checks=map(_encode_check, checks))

    async def RecordReinits(
        self, request: pb.RecordReinitsRequest, context: object
    ) -> pb.RecordReinitsResponse:
        _check_size("records", len(request.records))
        now = self._clock.now()
        steps = [_decode_step(i, record, now) for i, record in enumerate(request.records)]
        accepted, moved = await self._agents.record_reinits(steps)
        for claim in moved:
            self._hints.workspace_changed(claim.workspace_id)
        return pb.RecordReinitsResponse(accepted=accepted)

    async def GetManifest(
        self, request: pb.GetManifestRequest, context: object
    ) -> pb.GetManifestResponse:
        found = await self._agents.get_manifest(request.token_hash)
        manifest = pb.AgentManifest(
            agent_id=str(found.agent_id),
            agent_name=found.agent_name,
            workspace_id=str(found.workspace_id),
            workspace_name=found.workspace_name,
            owner_id=str(found.owner_id),
            owner_name=found.owner_name,
            is_prebuild=found.is_prebuild,
            claim_id=str(found.claim_id) if found.claim_id else "",
            directory=found.content["directory"],
            env=found.content["env"],
            scripts=[pb.ManifestScript(**script) for script in found.content["scripts"]],
        )
        return pb.GetManifestResponse(manifest=manifest)

    async def RecordLifecycle(
        self, request: pb.RecordLifecycleRequest, context: object
    ) -> pb.RecordLifecycleResponse:
        lifecycle = LIFECYCLES.get(request.lifecycle)
        if lifecycle is None:
            raise InvalidArgument(
                f"lifecycle: {request.lifecycle} is not one of {', '.join(LIFECYCLES.values())}",
                reason="LIFECYCLE_INVALID",
                field="lifecycle",
            )
        now = self._clock.now()
        workspace_id = await self._agents.record_lifecycle(
            request.token_hash,
            lifecycle,
            decode_time(request.changed_at, now),
            _clean(request.error),
            now,
        )
        if workspace_id is not None:
            self._hints.workspace_changed(workspace_id)
            for preset_id in await self._agents.pools_of([workspace_id]):
                self._hints.pool_changed(preset_id, "agent")
        return pb.RecordLifecycleResponse()

    async def RecordLiveness(
        self, request: pb.RecordLivenessRequest, context: object
    ) -> pb.RecordLivenessResponse:
        _check_size("connected", len(request.connected))
        _check_size("disconnected", len(request.disconnected))
        _check_size("arrived", len(request.arrived))
        news = await self._agents.record_liveness(
            request.connected,
            request.disconnected,
            self._clock.now(),
            gateway_id=_decode_optional(request.gateway_id, "gateway_id"),
            arrived=request.arrived,
        )
        for workspace_id in news:
            self._hints.workspace_changed(workspace_id)
        for preset_id in await self._agents.pools_of(news) if news else ():
            self._hints.pool_changed(preset_id, "agent")
        return pb.RecordLivenessResponse()

    async def RecordAgentLogs(
        self, request: pb.RecordAgentLogsRequest, context: object
    ) -> pb.RecordAgentLogsResponse:
        if len(request.lines) > LINES_MAX:
            raise InvalidArgument(
                f"lines: {len(request.lines)} at once; at most {LINES_MAX} are allowed",
                reason="TOO_MANY_LINES",
                field="lines",
            )
        lines = decode_lines(request.lines, self._clock.now())
        session_id = _decode_optional(request.session_id, "session_id")
        truncated = await self._agents.insert_logs(request.token_hash, lines, session_id)
        return pb.RecordAgentLogsResponse(truncated=truncated)


def _check_size(field: str, count: int) -> None:
    if count > BATCH_MAX:
        raise InvalidArgument(
            f"{field}: {count} at once; at most {BATCH_MAX} are allowed",
            reason="BATCH_TOO_LARGE",
            field=field,
        )


def _decode_optional(value: str, field: str) -> UUID | None:
    return decode_uuid(value, field) if value else None


def _decode_step(index: int, record: pb.ReinitRecord, now: datetime) -> ReinitStep:
    step = STEPS.get(record.phase) or ("delivered" if record.delivered else None)
    if step is None:
        raise InvalidArgument(
            f"records[{index}]: neither delivered nor a phase of {', '.join(STEPS.values())}",
            reason="STEP_MISSING",
            field=f"records[{index}]",
        )
    return ReinitStep(
        token_hash=record.token_hash,
        claim_id=decode_uuid(record.claim_id, f"records[{index}].claim_id"),
        step=step,
        at=now - timedelta(milliseconds=min(max(0, record.age_ms), AGE_MS_MAX)),
        error=_clean(record.error),
    )


def _encode_check(check: Check) -> pb.AgentCheck:
    return pb.AgentCheck(
        verdict=VERDICTS[check.verdict],
        agent_id=_text(check.agent_id),
        workspace_id=_text(check.workspace_id),
        claim_id=_text(check.claim_id),
        owner_id=_text(check.claimant_id),
        reason=REASON if check.claim_id else "",
        error=check.error,
    )


def _clean(error: str) -> str:
    """An agent's words, as the database can hold them: what it says must not be lost for them."""
    return error[:ERROR_CHARS_MAX].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _text(value: object | None) -> str:
    return "" if value is None else str(value)
