"""Measures and traces every call.

The context in the call's metadata (W3C) becomes current, so that whatever the handler does, sends
or logs belongs to the caller's trace. A unary call gets a span of its own. A stream gets none: a
span of hours is useless, and lost in a crash; what happens in a stream is traced event by event by
its handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import grpc
import grpc.aio
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace

from svckit.interceptors.around import Act, Around, Call, Context
from svckit.metrics import CALL_DURATION, CALLS

__all__ = ["observe_calls"]

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_FAULTS = {"UNKNOWN", "INTERNAL", "DATA_LOSS", "UNIMPLEMENTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"}

_tracer = trace.get_tracer("svckit")


def observe_calls(monotonic: Callable[[], float]) -> Around:
    """The concern. It belongs outside of all others: it sees the status they leave."""

    async def around(act: Act, call: Call) -> Any:
        if call.exempt:
            return await act(call)
        started_seconds = monotonic()
        method = call.method.removeprefix("/")
        CALLS.start(method)
        code = "UNKNOWN"
        around_all = _remote_context(call.context)
        span = trace.INVALID_SPAN
        if call.unary:
            span = _start_span(method, around_all)
            around_all = trace.set_span_in_context(span, around_all)
        token = otel_context.attach(around_all)
        try:
            response = await act(call)
            code = _code_name(call.context)
            return response
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            code = _code_name(call.context)
            raise
        finally:
            otel_context.detach(token)
            _end_span(span, code)
            CALLS.end(method)
            CALL_DURATION.record(
                monotonic() - started_seconds, {"grpc.method": method, "grpc.status": code}
            )

    return around


def _remote_context(context: Context) -> otel_context.Context:
    carrier = {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }
    return propagate.extract(carrier)


def _start_span(method: str, remote: otel_context.Context) -> trace.Span:
    attributes = {"rpc.system": "grpc", "rpc.method": method}
    return _tracer.start_span(method, remote, trace.SpanKind.SERVER, attributes)


def _end_span(span: trace.Span, code: str) -> None:
    span.set_attribute("rpc.response.status_code", code)
    if code in _FAULTS:
        span.set_status(trace.StatusCode.ERROR, code)
    span.end()


def _code_name(context: Context) -> str:
    # Before the status is sent the aio context holds a number, or nothing for success.
    code = cast("object", context.code())
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _NAMES.get(code, "UNKNOWN") if isinstance(code, int) else "OK"
