"""The agents' messages, read and written. What is out of bounds is refused by field."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from agentgw.core.frames import Frame, Heartbeat, Reconnect
from agentgw.core.records import Phase, ReinitRecord
from agentgw.core.verdicts import Deliver
from agentgw.wire.truth import PHASES
from svckit.errors import InvalidArgument
from warmpool.agent.v1 import agent_pb2
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2

__all__ = [
    "decode_acknowledgement",
    "decode_last_applied",
    "encode_agent_logs",
    "encode_frame",
    "encode_lifecycle",
    "encode_manifest",
]

ERROR_BYTES_MAX: Final = 4_096
TEXT_BYTES_MAX: Final = 8_192
STAGE_BYTES_MAX: Final = 256
LINES_MAX: Final = 500

_PHASES: Final = {
    encoded: phase for phase, encoded in PHASES.items() if phase is not Phase.DELIVERED
}


def encode_frame(frame: Frame) -> agent_pb2.WaitForReinitResponse:
    """One frame of a stream."""
    match frame:
        case Heartbeat():
            heartbeat = agent_pb2.StreamHeartbeat(interval_ms=int(frame.interval_seconds * 1000))
            return agent_pb2.WaitForReinitResponse(heartbeat=heartbeat)
        case Reconnect():
            reconnect = agent_pb2.StreamReconnect(after_ms=int(frame.after_seconds * 1000))
            return agent_pb2.WaitForReinitResponse(reconnect=reconnect)
        case Deliver():
            reinit = agent_pb2.ReinitEvent(
                workspace_id=frame.workspace_id,
                owner_id=frame.owner_id,
                reason=frame.reason,
                claim_id=frame.claim_id,
            )
            return agent_pb2.WaitForReinitResponse(reinit=reinit)


def decode_last_applied(request: agent_pb2.WaitForReinitRequest) -> str:
    """The claim an agent remembers; empty if none."""
    if not request.last_applied_claim_id:
        return ""
    return _read_id("last_applied_claim_id", request.last_applied_claim_id)


def decode_acknowledgement(
    request: agent_pb2.AcknowledgeReinitRequest, token_hash: bytes, *, at_seconds: float
) -> ReinitRecord:
    """What an agent says of a claim, and when it said so."""
    phase = _PHASES.get(request.phase)
    if phase is None:
        allowed = ", ".join(types_pb2.ReinitPhase.Name(value) for value in _PHASES)
        raise InvalidArgument(f"phase {request.phase}: must be one of {allowed}", field="phase")
    _check_size("error", request.error, ERROR_BYTES_MAX)
    return ReinitRecord(
        token_hash=token_hash,
        claim_id=_read_id("claim_id", request.claim_id),
        phase=phase,
        at_seconds=at_seconds,
        error=request.error if phase is Phase.FAILED else "",
    )


def encode_lifecycle(
    request: agent_pb2.ReportLifecycleRequest, token_hash: bytes
) -> gateway_pb2.RecordLifecycleRequest:
    """What an agent says of itself, for the control plane."""
    if request.lifecycle == types_pb2.AGENT_LIFECYCLE_UNSPECIFIED:
        raise InvalidArgument("lifecycle: must be set", field="lifecycle")
    _check_size("error", request.error, ERROR_BYTES_MAX)
    return gateway_pb2.RecordLifecycleRequest(
        token_hash=token_hash,
        lifecycle=request.lifecycle,
        changed_at=request.changed_at if request.HasField("changed_at") else None,
        error=request.error,
    )


def encode_agent_logs(
    request: agent_pb2.SendLogsRequest, token_hash: bytes
) -> gateway_pb2.RecordAgentLogsRequest:
    """Lines of an agent's scripts, for the control plane."""
    if len(request.lines) > LINES_MAX:
        raise InvalidArgument(
            f"lines: {len(request.lines)} given, at most {LINES_MAX} are allowed", field="lines"
        )
    for line in request.lines:
        _check_size("lines.text", line.text, TEXT_BYTES_MAX)
        _check_size("lines.stage", line.stage, STAGE_BYTES_MAX)
    session_id = _read_id("session_id", request.session_id) if request.session_id else ""
    return gateway_pb2.RecordAgentLogsRequest(
        token_hash=token_hash, lines=request.lines, session_id=session_id
    )


def encode_manifest(manifest: gateway_pb2.AgentManifest) -> agent_pb2.GetManifestResponse:
    """The manifest as the agent reads it.

    Both messages are the same on the wire, so fields of a newer release pass through a gateway that
    does not know them.
    """
    return agent_pb2.GetManifestResponse.FromString(manifest.SerializeToString())


def _read_id(name: str, value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise InvalidArgument(f"{name} {value[:80]!r}: must be a UUID", field=name) from None


def _check_size(name: str, value: str, bytes_max: int) -> None:
    size = len(value.encode())
    if size > bytes_max:
        raise InvalidArgument(
            f"{name}: is {size} bytes, at most {bytes_max} are allowed", field=name
        )
