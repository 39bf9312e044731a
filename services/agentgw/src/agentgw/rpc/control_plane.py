"""Calls to the control plane. Every call has a deadline; every failure is a ServiceError.

A code passes through as it is, with one exception: when the control plane refuses the *gateway's*
key, agents must not hear that theirs is wrong and give up. They hear that nothing can be done now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import grpc
import grpc.aio

from agentgw.core.liveness import LivenessReport
from agentgw.core.records import ReinitRecord
from agentgw.core.verdicts import AgentCheck
from agentgw.store.truth import Truth
from agentgw.wire.truth import (
    decode_checks,
    encode_check_agents,
    encode_record_liveness,
    encode_record_reinits,
)
from svckit import errors
from svckit.cancellation import is_asked_to_end
from svckit.status import read_error
from svckit.system import Clock
from warmpool.gateway.v1 import gateway_pb2
from warmpool.gateway.v1.gateway_pb2_grpc import GatewayServiceStub

__all__ = ["ControlPlane"]

CALL_TIMEOUT_SECONDS: Final = 10.0
AGENT_UNKNOWN: Final = "AGENT_UNKNOWN"

_Result = TypeVar("_Result")

_ERRORS: Final[Mapping[grpc.StatusCode, type[errors.ServiceError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ABORTED: errors.Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.INTERNAL: errors.Internal,
}
_ABOUT_THE_CALLER: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class ControlPlane(Truth):
    """The control plane at the other end of a channel."""

    def __init__(self, channel: grpc.aio.Channel, *, gateway_id: str, clock: Clock) -> None:
        self._stub = GatewayServiceStub(channel)
        self._gateway_id = gateway_id
        self._clock = clock

    async def check_agents(self, token_hashes: Sequence[bytes]) -> tuple[AgentCheck, ...]:
        request = encode_check_agents(token_hashes)
        checks = decode_checks(await _call(self._stub.CheckAgents, request))
        if len(checks) != len(token_hashes):
            raise errors.Internal(f"{len(checks)} checks were sent for {len(token_hashes)} agents")
        return checks

    async def record_reinits(self, records: Sequence[ReinitRecord]) -> tuple[bool, ...]:
        request = encode_record_reinits(records, now_seconds=self._clock.monotonic())
        accepted = tuple((await _call(self._stub.RecordReinits, request)).accepted)
        if len(accepted) != len(records):
            raise errors.Internal(f"{len(accepted)} answers were sent for {len(records)} records")
        return accepted

    async def record_liveness(self, report: LivenessReport) -> None:
        request = encode_record_liveness(report, self._gateway_id)
        await _call(self._stub.RecordLiveness, request)

    async def read_manifest(self, token_hash: bytes) -> gateway_pb2.AgentManifest:
        """What the agent has to run."""
        request = gateway_pb2.GetManifestRequest(token_hash=token_hash)
        return (await _call(self._stub.GetManifest, request)).manifest

    async def record_lifecycle(self, request: gateway_pb2.RecordLifecycleRequest) -> None:
        """What an agent says of itself."""
        await _call(self._stub.RecordLifecycle, request)

    async def record_agent_logs(self, request: gateway_pb2.RecordAgentLogsRequest) -> bool:
        """Stores lines. Whether the agent's log is full."""
        return (await _call(self._stub.RecordAgentLogs, request)).truncated


async def _call(
    method: Callable[..., Awaitable[_Result]],
    request: object,
) -> _Result:
    try:
        return await method(request, timeout=CALL_TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        raise _explain(error) from error
    except asyncio.CancelledError as error:
        if is_asked_to_end():
            raise
        raise errors.Unavailable(
            "the connection to the control plane was closed", reason="CONTROL_PLANE_UNREACHABLE"
        ) from error


def _explain(error: grpc.RpcError) -> errors.ServiceError:
    remote = read_error(error)
    kind = _ERRORS.get(remote.code, errors.Unavailable)
    if remote.code in _ABOUT_THE_CALLER and remote.reason != AGENT_UNKNOWN:
        return errors.Unavailable(
            "the control plane refuses this gateway", reason="GATEWAY_REFUSED"
        )
    if remote.code is grpc.StatusCode.UNAVAILABLE and not remote.reason:
        # gRPC's own text names addresses, which are none of an agent's business.
        return errors.Unavailable(
            "the control plane cannot be reached", reason="CONTROL_PLANE_UNREACHABLE"
        )
    if remote.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.Unavailable(
            "the control plane does not answer", reason="CONTROL_PLANE_UNREACHABLE"
        )
    return kind(
        remote.message,
        reason=remote.reason,
        field=remote.field,
        metadata=remote.metadata,
        retry_after_seconds=remote.retry_after_seconds,
    )
