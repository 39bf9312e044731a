"""Refuses new calls while draining, and knows which are still under way.

gRPC's own `stop` returns before the `finally` blocks of cancelled handlers have run. Whoever closes
a database pool next must wait for those: this counts handlers by their own entry and exit.
"""

from __future__ import annotations

import asyncio
from typing import Any

from svckit.errors import Unavailable
from svckit.interceptors.around import Act, Call

__all__ = ["Drain"]

RETRY_AFTER_SECONDS = 1.0  # about what a supervisor needs to start a replacement


class Drain:
    """The calls of one server."""

    def __init__(self) -> None:
        """Start refusing nothing."""
        self.refusing = False
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def calls(self) -> int:
        """How many calls are under way, health and reflection not counted."""
        return self._calls

    async def wait_idle(self, timeout_seconds: float) -> bool:
        """Wait until no call is under way; False if `timeout_seconds` were not enough."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def count_calls(self, act: Act, call: Call) -> Any:
        """The concern that counts and refuses."""
        if call.exempt:
            return await act(call)
        if self.refusing:
            raise Unavailable(
                "the server is shutting down: try again, another one takes over",
                reason="DRAINING",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        self._calls += 1
        self._idle.clear()
        try:
            return await act(call)
        finally:
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()
