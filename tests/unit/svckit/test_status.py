"""The table from errors to statuses, and the way back."""

from __future__ import annotations

import inspect

import grpc
import grpc.aio
import pytest

from svckit import errors
from svckit.status import RemoteError, code_of, encode_status, read_error

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ServiceError) and kind is not errors.ServiceError
]


class QuotaReached(errors.ResourceExhausted):
    """An error of a service's own."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_code_of_its_name(kind: type[errors.ServiceError]) -> None:
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in kind.__name__)

    assert code_of(kind("no")).name == words.strip("_").upper()


def test_an_error_of_a_service_keeps_the_code_of_its_kind() -> None:
    assert code_of(QuotaReached("no")) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert code_of(errors.ServiceError("no")) == grpc.StatusCode.INTERNAL


def rpc_error(*metadata: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.NOT_FOUND, trailing_metadata=grpc.aio.Metadata(*metadata), details="gone"
    )


def test_what_is_encoded_is_read() -> None:
    error = errors.NotFound(
        "gone", reason="X", field="a.b", metadata={"k": "v"}, retry_after_seconds=0.25
    )
    packed = encode_status(error).SerializeToString()

    assert read_error(rpc_error(("grpc-status-details-bin", packed))) == RemoteError(
        grpc.StatusCode.NOT_FOUND, "gone", "X", "a.b", {"k": "v"}, 0.25
    )


@pytest.mark.parametrize("details", [b"", b"\xff\xff", b"\x1a\x03\x0a\x01x"])
def test_damaged_details_count_as_absent(details: bytes) -> None:
    assert read_error(rpc_error(("grpc-status-details-bin", details))) == RemoteError(
        grpc.StatusCode.NOT_FOUND, "gone"
    )


def test_an_error_that_is_no_status_is_unknown() -> None:
    assert read_error(grpc.RpcError("odd")) == RemoteError(grpc.StatusCode.UNKNOWN, "odd")
