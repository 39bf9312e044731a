"""Surrounds the handlers of all four arities with async context managers.

A concern is a function from a call to an async context manager: it is
entered before the handler and left after it, also when the handler fails or the call is cancelled.
Responses are written from inside it rather than yielded through it: only so does a call that is
cancelled while its peer reads slowly unwind at once, in its own task, through every `finally`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio

__all__ = ["Around", "AroundInterceptor", "Call", "Context"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# Probes and tools must work without a token, and while the server drains.
_EXEMPT_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


@dataclass(slots=True)
class Call:
    """One call: its method ("/package.Service/Method"), context, and if both sides send one
    message.
    """

    method: str
    context: Context
    unary: bool

    @property
    def exempt(self) -> bool:
        """True for health and reflection: no token, no drain, no trace."""
        return self.method.startswith(_EXEMPT_PREFIXES)


Around = Callable[[Call], AbstractAsyncContextManager[None]]

_Act: TypeAlias = Callable[[Any, Call], Awaitable[Any]]


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

    async def respond(request: Any, call: Call) -> Any:
        return await behaviour(request, call.context)

    async def stream(request: Any, call: Call) -> None:
        responses = behaviour(request, call.context)
        if inspect.isawaitable(responses):
            await responses
            return
        generator = cast("AsyncGenerator[Any]", responses)
        async with aclosing(generator):
            async for response in generator:
                await call.context.write(response)

    act: _Act = stream if handler.response_streaming else respond
    for around in reversed(arounds):
        act = _put_around(act, around)

    async def serve(request: Any, context: Context) -> Any:
        return await act(request, Call(method, context, unary))

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


def _put_around(act: _Act, around: Around) -> _Act:
    async def surrounded(request: Any, call: Call) -> Any:
        async with around(call):
            return await act(request, call)

    return surrounded
