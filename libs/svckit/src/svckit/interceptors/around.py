"""Surrounds the handlers of all four arities with one async context manager.

A concern is a function from a call to an async context manager: it is
entered before the handler and left after it, also when the handler fails or the call is cancelled.
Responses are written from inside it rather than yielded through it: only so does a call that is
cancelled while its peer reads slowly unwind at once, in its own task, through every `finally`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
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


@dataclass(frozen=True)
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


class AroundInterceptor(grpc.aio.ServerInterceptor):
    """Puts a concern around every call."""

    def __init__(self, around: Around) -> None:
        """Surround with `around`."""
        self._around = around

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """The handler of the call, surrounded; None if the server has none."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        return _surround(handler, self._around, handler_call_details.method)


def _surround(handler: _Handler, around: Around, method: str) -> _Handler:
    chosen: Any = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )

    behaviour: Callable[[Any, Context], Any] = chosen
    unary = not (handler.request_streaming or handler.response_streaming)

    async def respond(request: Any, context: Context) -> Any:
        async with around(Call(method, context, unary)):
            return await behaviour(request, context)

    async def stream(request: Any, context: Context) -> None:
        async with around(Call(method, context, unary)):
            responses = behaviour(request, context)
            if inspect.isawaitable(responses):
                await responses
                return
            generator = cast("AsyncGenerator[Any]", responses)
            async with aclosing(generator):
                async for response in generator:
                    await context.write(response)

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
        stream if handler.response_streaming else respond,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return surrounded
