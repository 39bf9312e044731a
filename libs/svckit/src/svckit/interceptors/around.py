"""Surrounds the handlers of all four arities with concerns.

A concern is a coroutine function that is given what it surrounds and the call, and awaits the first
with the second: what stands before that happens before the handler, and what stands in a `finally`
after it, also when the handler fails or the call is cancelled. (Context managers cost more than
what most of the concerns do.)

Responses are written from inside it rather than yielded through it: only so does a call that is
cancelled while its peer reads slowly unwind at once, in its own task, through every `finally`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio

__all__ = ["Act", "Around", "AroundInterceptor", "Call", "Context"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# Probes and tools must work without a token, and while the server drains.
_EXEMPT_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


@dataclass(slots=True)
class Call:
    """One call: its method ("/package.Service/Method"), context, request or requests, and if both
    sides send one message. `exempt` are health and reflection: no token, no drain, no trace.
    """

    method: str
    context: Context
    request: Any
    unary: bool
    exempt: bool


Act: TypeAlias = Callable[[Call], Awaitable[Any]]
Around: TypeAlias = Callable[[Act, Call], Awaitable[Any]]


class AroundInterceptor(grpc.aio.ServerInterceptor):
    """Puts concerns around every call, the first outermost. One interceptor for all of them, and
    each method's handler surrounded once: gRPC asks interceptors anew for every call.
    """

    def __init__(self, *arounds: Around) -> None:
        """Surround with `arounds`."""
        self._arounds = arounds
        self._surrounded: dict[str, tuple[_Handler, _Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """The handler of the call, surrounded; None if the server has none."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        bare, surrounded = self._surrounded.get(method, (None, None))
        if surrounded is None or bare is not handler:
            surrounded = _surround(handler, self._arounds, method)
            self._surrounded[method] = (handler, surrounded)
        return surrounded


def _surround(handler: _Handler, arounds: Sequence[Around], method: str) -> _Handler:
    chosen: Any = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )

    behaviour: Callable[[Any, Context], Any] = chosen
    unary = not (handler.request_streaming or handler.response_streaming)

    async def respond(call: Call) -> Any:
        return await behaviour(call.request, call.context)

    async def stream(call: Call) -> None:
        responses = behaviour(call.request, call.context)
        if inspect.isawaitable(responses):
            await responses
            return
        generator = cast("AsyncGenerator[Any]", responses)
        async with aclosing(generator):
            async for response in generator:
                await call.context.write(response)

    act: Act = stream if handler.response_streaming else respond
    for around in reversed(arounds):
        act = partial(around, act)
    exempt = method.startswith(_EXEMPT_PREFIXES)

    async def serve(request: Any, context: Context) -> Any:
        return await act(Call(method, context, request, unary, exempt))

    make: Any
    if handler.request_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
    else:
        make = (
            grpc.unary_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.unary_unary_rpc_method_handler
        )
    surrounded: _Handler = make(
        serve,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return surrounded
