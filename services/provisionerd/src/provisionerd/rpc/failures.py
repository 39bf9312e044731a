"""Which error a failed call is: one table."""

from __future__ import annotations

import grpc

from provisionerd.core.errors import (
    ControlPlaneError,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    JobSuperseded,
)
from svckit.status import read_error

__all__ = ["explain_failure"]

_SUPERSEDED = frozenset({grpc.StatusCode.ABORTED, grpc.StatusCode.NOT_FOUND})
# everything else is a fault of the moment: of the network, of a replica, of a database
_REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


def explain_failure(error: grpc.RpcError) -> ControlPlaneError:
    """Turns what gRPC raised into what the worker does next."""
    remote = read_error(error)
    if remote.code in _SUPERSEDED:
        return JobSuperseded(remote.code.name, remote.message)
    # too large stays too large; a quota that refills says when
    is_too_large = (
        remote.code is grpc.StatusCode.RESOURCE_EXHAUSTED and remote.retry_after_seconds is None
    )
    if remote.code in _REFUSED or is_too_large:
        return ControlPlaneRefused(remote.code.name, remote.message)
    return ControlPlaneUnavailable(remote.code.name, remote.message, remote.retry_after_seconds)
