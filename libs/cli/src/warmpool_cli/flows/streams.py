"""Reads a server's stream to its end, across restarts of the server.

A control plane that restarts ends its streams; whoever follows a build does not want to hear of it.
The reader starts again after a jittered wait, and gives up after several failures in a row.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import grpc.aio

from svckit.backoff import Backoff
from svckit.system import Clock, Entropy, SystemClock, SystemEntropy

__all__ = ["Patience", "read_stream"]

Request = TypeVar("Request")
Response = TypeVar("Response")

FAILURES_MAX = 6
INITIAL_SECONDS = 0.25
MAXIMUM_SECONDS = 4.0
_WORTH_REPEATING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a wait is made of."""

    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)


async def read_stream(
    start: Callable[[], grpc.aio.UnaryStreamCall[Request, Response]],
    is_over: Callable[[], bool],
    patience: Patience,
) -> AsyncGenerator[Response]:
    """Yields responses; starts the call again whenever it ends before it is over.

    Raises what the last of several calls in a row failed with; ends after as many in a
    row that said nothing.
    """
    backoff = Backoff(INITIAL_SECONDS, MAXIMUM_SECONDS, patience.entropy)
    failures = 0
    while True:
        call = start()
        try:
            async for response in call:
                failures = 0
                backoff.reset()
                yield response
            if is_over():
                return
        except grpc.aio.AioRpcError as error:
            if error.code() not in _WORTH_REPEATING or failures + 1 >= FAILURES_MAX:
                raise
        finally:
            call.cancel()
        failures += 1
        if failures >= FAILURES_MAX:
            return
        await patience.clock.sleep(backoff.next())
