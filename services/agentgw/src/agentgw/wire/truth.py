"""The control plane's messages about agents, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agentgw.core.liveness import LivenessReport
from agentgw.core.records import Phase, ReinitRecord
from agentgw.core.verdicts import AgentCheck, Verdict
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2

__all__ = [
    "PHASES",
    "decode_checks",
    "encode_check_agents",
    "encode_record_liveness",
    "encode_record_reinits",
]

_VERDICTS: Final[Mapping[int, Verdict]] = {
    gateway_pb2.REINIT_VERDICT_UNKNOWN_TOKEN: Verdict.UNKNOWN_TOKEN,
    gateway_pb2.REINIT_VERDICT_NOT_A_PREBUILD: Verdict.NOT_A_PREBUILD,
    gateway_pb2.REINIT_VERDICT_UNCLAIMED: Verdict.UNCLAIMED,
    gateway_pb2.REINIT_VERDICT_CLAIM_PENDING: Verdict.CLAIM_PENDING,
    gateway_pb2.REINIT_VERDICT_DELIVERABLE: Verdict.DELIVERABLE,
    gateway_pb2.REINIT_VERDICT_CLAIM_BUILD_FAILED: Verdict.CLAIM_BUILD_FAILED,
    gateway_pb2.REINIT_VERDICT_ALREADY_APPLIED: Verdict.ALREADY_APPLIED,
}

PHASES: Final[Mapping[Phase, types_pb2.ReinitPhase.ValueType]] = {
    Phase.DELIVERED: types_pb2.REINIT_PHASE_UNSPECIFIED,
    Phase.APPLYING: types_pb2.REINIT_PHASE_APPLYING,
    Phase.APPLIED: types_pb2.REINIT_PHASE_APPLIED,
    Phase.FAILED: types_pb2.REINIT_PHASE_FAILED,
}


def encode_check_agents(token_hashes: Sequence[bytes]) -> gateway_pb2.CheckAgentsRequest:
    """Asks for these agents, in this order."""
    return gateway_pb2.CheckAgentsRequest(token_hashes=token_hashes)


def decode_checks(response: gateway_pb2.CheckAgentsResponse) -> tuple[AgentCheck, ...]:
    """What was found; a verdict of a newer release is unrecognized, not an error."""
    return tuple(
        AgentCheck(
            verdict=_VERDICTS.get(check.verdict, Verdict.UNRECOGNIZED),
            agent_id=check.agent_id,
            workspace_id=check.workspace_id,
            claim_id=check.claim_id,
            owner_id=check.owner_id,
            reason=check.reason,
            error=check.error,
        )
        for check in response.checks
    )


def encode_record_reinits(
    records: Sequence[ReinitRecord], *, now_seconds: float
) -> gateway_pb2.RecordReinitsRequest:
    """Steps of claims, in the order they happened."""
    return gateway_pb2.RecordReinitsRequest(
        records=[
            gateway_pb2.ReinitRecord(
                token_hash=record.token_hash,
                claim_id=record.claim_id,
                delivered=record.phase is Phase.DELIVERED,
                phase=PHASES[record.phase],
                error=record.error,
                age_ms=max(0, round((now_seconds - record.at_seconds) * 1000)),
            )
            for record in records
        ]
    )


def encode_record_liveness(
    report: LivenessReport, gateway_id: str
) -> gateway_pb2.RecordLivenessRequest:
    """Who is connected, and who has gone, as this gateway sees it."""
    return gateway_pb2.RecordLivenessRequest(
        connected=report.connected,
        disconnected=report.disconnected,
        gateway_id=gateway_id,
        arrived=report.arrived,
    )
