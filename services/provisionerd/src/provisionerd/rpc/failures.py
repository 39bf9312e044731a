"""Which error a failed call is: one table."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import grpc
import grpc.aio

from provisionerd.core.errors import (
    ControlPlaneError,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    JobSuperseded,
)
from svckit.cancellation import is_asked_to_end
from svckit.status import read_error

__all__ = ["explaining_failures"]

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


@contextmanager
def explaining_failures() -> Generator[None]:
    """Turns what gRPC raises within into what the worker does next. A call that gRPC cancelled, as
    when its channel was closed, has failed; a cancellation of the task itself passes through.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _explain(error) from error
    except asyncio.CancelledError as error:
        if is_asked_to_end():
            raise
        raise ControlPlaneUnavailable("CANCELLED", "the connection was closed") from error


def _explain(error: grpc.RpcError) -> ControlPlaneError:
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
