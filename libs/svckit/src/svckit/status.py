"""The one table from errors to gRPC statuses, and back.

A status carries google.rpc details, so that clients act on fields rather than on text: ErrorInfo
(reason, domain "warmpool", metadata) always, BadRequest if a request field is to blame, RetryInfo
if repeating may help and when.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Never

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from svckit import errors

__all__ = ["DOMAIN", "RemoteError", "abort_with", "code_of", "encode_status", "read_error"]

DOMAIN = "warmpool"

_DETAILS_KEY = "grpc-status-details-bin"
_NANOSECONDS = 1_000_000_000

_CODES: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Internal: grpc.StatusCode.INTERNAL,
}


@dataclass(frozen=True)
class RemoteError:
    """What a server told about a failed call. Absent details are empty, never guessed from the
    text.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    field: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    retry_after_seconds: float | None = None


def code_of(error: errors.ServiceError) -> grpc.StatusCode:
    """The code of an error: that of the nearest kind in the table. INTERNAL if it derives from
    none.
    """
    for kind in type(error).__mro__:
        code = _CODES.get(kind)
        if code is not None:
            return code
    return grpc.StatusCode.INTERNAL


def encode_status(error: errors.ServiceError) -> status_pb2.Status:
    """The status a caller is sent for `error`."""
    code = code_of(error)
    number, _ = code.value
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason or code.name, domain=DOMAIN, metadata=dict(error.metadata)
        )
    ]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.message
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_seconds * _NANOSECONDS))
        details.append(retry)
    return status_pb2.Status(
        code=number, message=error.message, details=[_pack(detail) for detail in details]
    )


async def abort_with(
    context: grpc.aio.ServicerContext[Any, Any], error: errors.ServiceError
) -> Never:
    """End the call with the status of `error`. Never returns: it raises what ends the handler."""
    status = encode_status(error)
    await context.abort(
        code_of(error), status.message, ((_DETAILS_KEY, status.SerializeToString()),)
    )


def read_error(rpc_error: grpc.RpcError) -> RemoteError:
    """What the server told. Damaged details count as absent. An error that is no status has code
    UNKNOWN.
    """
    if not isinstance(rpc_error, grpc.aio.AioRpcError):
        return RemoteError(code=grpc.StatusCode.UNKNOWN, message=str(rpc_error))
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_after_seconds: float | None = None
    for detail in _read_details(rpc_error):
        for message in (info, bad, retry):
            if detail.TypeName() == message.DESCRIPTOR.full_name:
                _unpack(detail, message)
        if detail.TypeName() == retry.DESCRIPTOR.full_name:
            retry_after_seconds = retry.retry_delay.ToNanoseconds() / _NANOSECONDS
    return RemoteError(
        code=rpc_error.code(),
        message=rpc_error.details() or "",
        reason=info.reason,
        field=bad.field_violations[0].field if bad.field_violations else "",
        metadata=dict(info.metadata),
        retry_after_seconds=retry_after_seconds,
    )


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _unpack(detail: any_pb2.Any, into: Message) -> None:
    try:
        into.ParseFromString(detail.value)
    except DecodeError:
        into.Clear()


def _read_details(error: grpc.aio.AioRpcError) -> list[any_pb2.Any]:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []
    return []
