"""From what the gateway sends to what the agent means. Pure."""

from __future__ import annotations

import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from agentsdk.core import Frame, Heartbeat, Reconnect, ReinitEvent, UnknownFrame
from agentsdk.errors import CallFailed
from agentsdk.manifest import Manifest, Script
from warmpool.agent.v1 import agent_pb2 as pb

__all__ = ["decode_failure", "decode_frame", "decode_manifest"]

_DETAILS_KEY = "grpc-status-details-bin"


def decode_frame(frame: pb.WaitForReinitResponse) -> Frame:
    """What a frame says; one of a newer gateway says nothing."""
    match frame.WhichOneof("frame"):
        case "heartbeat":
            return Heartbeat(interval_seconds=frame.heartbeat.interval_ms / 1_000)
        case "reinit":
            return ReinitEvent(
                workspace_id=frame.reinit.workspace_id,
                owner_id=frame.reinit.owner_id,
                reason=frame.reinit.reason,
                claim_id=frame.reinit.claim_id,
            )
        case "reconnect":
            return Reconnect(after_seconds=max(0.0, frame.reconnect.after_ms / 1_000))
        case None:
            return UnknownFrame()


def decode_manifest(answer: pb.GetManifestResponse) -> Manifest:
    """What to run, and for whom."""
    return Manifest(
        agent_id=answer.agent_id,
        agent_name=answer.agent_name,
        workspace_id=answer.workspace_id,
        workspace_name=answer.workspace_name,
        owner_id=answer.owner_id,
        owner_name=answer.owner_name,
        is_prebuild=answer.is_prebuild,
        claim_id=answer.claim_id,
        directory=answer.directory,
        env=dict(answer.env),
        scripts=tuple(
            Script(
                display_name=script.display_name,
                text=script.script,
                run_on_start=script.run_on_start,
                run_on_stop=script.run_on_stop,
                timeout_seconds=max(0, script.timeout_seconds),
                log_path=script.log_path,
            )
            for script in answer.scripts
        ),
    )


def decode_failure(error: grpc.aio.AioRpcError) -> CallFailed:
    """Why a call failed, with the details the gateway attached."""
    reason, retry_after_seconds = "", None
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            reason, retry_after_seconds = _decode_details(value)
    return CallFailed(
        code=error.code().name,
        reason=reason,
        message=error.details() or "",
        retry_after_seconds=retry_after_seconds,
    )


def _decode_details(encoded: bytes) -> tuple[str, float | None]:
    """The reason and the wait in a google.rpc.Status; what cannot be read counts as not there."""
    reason, retry_after_seconds = "", None
    try:
        for detail in Status.FromString(encoded).details:
            info, retry = ErrorInfo(), RetryInfo()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(retry):
                retry_after_seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    except DecodeError:
        return reason, retry_after_seconds
    return reason, retry_after_seconds
