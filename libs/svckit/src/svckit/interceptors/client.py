"""What a channel adds to each of its calls: the token, the trace, and a deadline if it has none.

None of them looks at how a call ends: an interceptor that awaits the status of a call keeps its
cancellation from reaching the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc.aio
from opentelemetry import propagate

__all__ = ["client_interceptors"]

_Details = grpc.aio.ClientCallDetails
_Requests = AsyncIterable[Any] | Iterable[Any]


class _Additions:
    def __init__(self, token: Callable[[], str] | None, unary_seconds_max: float) -> None:
        self._token = token
        self._unary_seconds_max = unary_seconds_max

    def unary(self, details: _Details) -> _Details:
        timeout = self._unary_seconds_max if details.timeout is None else details.timeout
        return self._add(details, timeout)

    def stream(self, details: _Details) -> _Details:
        return self._add(details, details.timeout)

    def _add(self, details: _Details, timeout: float | None) -> _Details:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if self._token is not None and "authorization" not in metadata:
            metadata.add("authorization", f"Bearer {self._token()}")
        trace_fields: dict[str, str] = {}
        propagate.inject(trace_fields)
        for key, value in trace_fields.items():
            if key not in metadata:
                metadata.add(key, value)
        return grpc.aio.ClientCallDetails(
            details.method, timeout, metadata, details.credentials, details.wait_for_ready
        )


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, additions: _Additions) -> None:
        self._additions = additions

    async def intercept_unary_unary(
        self,
        continuation: Callable[[_Details, Any], Awaitable[grpc.aio.UnaryUnaryCall[Any, Any]]],
        client_call_details: _Details,
        request: Any,
    ) -> Any:
        return await continuation(self._additions.unary(client_call_details), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, additions: _Additions) -> None:
        self._additions = additions

    async def intercept_unary_stream(
        self,
        continuation: Callable[[_Details, Any], Awaitable[grpc.aio.UnaryStreamCall[Any, Any]]],
        client_call_details: _Details,
        request: Any,
    ) -> AsyncIterator[Any] | grpc.aio.UnaryStreamCall[Any, Any]:
        return await continuation(self._additions.stream(client_call_details), request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, additions: _Additions) -> None:
        self._additions = additions

    async def intercept_stream_unary(
        self,
        continuation: Callable[
            [_Details, _Requests], Awaitable[grpc.aio.StreamUnaryCall[Any, Any]]
        ],
        client_call_details: _Details,
        request_iterator: _Requests,
    ) -> Any:
        return await continuation(self._additions.stream(client_call_details), request_iterator)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, additions: _Additions) -> None:
        self._additions = additions

    async def intercept_stream_stream(
        self,
        continuation: Callable[
            [_Details, _Requests], Awaitable[grpc.aio.StreamStreamCall[Any, Any]]
        ],
        client_call_details: _Details,
        request_iterator: _Requests,
    ) -> AsyncIterator[Any] | grpc.aio.StreamStreamCall[Any, Any]:
        return await continuation(self._additions.stream(client_call_details), request_iterator)


def client_interceptors(
    token: Callable[[], str] | None, unary_seconds_max: float
) -> list[grpc.aio.ClientInterceptor]:
    """One interceptor per arity: gRPC files an object under the first arity it finds only."""
    additions = _Additions(token, unary_seconds_max)
    return [
        _UnaryUnary(additions),
        _UnaryStream(additions),
        _StreamUnary(additions),
        _StreamStream(additions),
    ]
