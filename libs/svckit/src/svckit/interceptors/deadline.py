"""Bounds unary calls whose client set no deadline.

A client's own deadline is enforced by gRPC. This is for the one that forgot: its call must not hold
a connection to the database for ever. Streams end by drain, by their client or by themselves.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from svckit.interceptors.around import Act, Around, Call

__all__ = ["bound_calls"]


def bound_calls(unary_seconds_max: float) -> Around:
    """The concern that ends a unary call after `unary_seconds_max` with DEADLINE_EXCEEDED."""

    async def around(act: Act, call: Call) -> Any:
        if not call.unary:
            return await act(call)
        bound = asyncio.timeout(unary_seconds_max)
        try:
            async with bound:
                return await act(call)
        except TimeoutError:
            if not bound.expired():
                raise
            await call.context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"{call.method} took longer than {unary_seconds_max:g} s",
            )

    return around
