"""What the gateway must learn: sent in order, repeated until it is accepted.

Only the newest of several reports matters, so while one cannot be delivered the older ones behind
which a newer waits are forgotten; the outbox never holds more than a handful. A report that the
gateway refuses for good is logged and dropped. On a crash the content is lost: claims are told
again by the gateway, lifecycles by the next run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from agentsdk.backoff import Backoffs
from agentsdk.core import PACES, Pace, is_worth_repeating
from agentsdk.errors import CallFailed
from agentsdk.surroundings import Surroundings

__all__ = ["Outbox"]

_Report = TypeVar("_Report")


class Outbox(Generic[_Report]):
    """Reports of one kind. `run` must be running for anything to be sent."""

    def __init__(
        self,
        name: str,
        send: Callable[[_Report], Awaitable[None]],
        surroundings: Surroundings,
    ) -> None:
        """`send` raises `CallFailed`; `name` is for the log."""
        self._name = name
        self._send = send
        self._clock = surroundings.clock
        self._limits = surroundings.limits
        self._log = surroundings.log
        self._backoffs = Backoffs(surroundings.limits, surroundings.entropy)
        self._waiting: deque[_Report] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def put(self, report: _Report) -> None:
        """Takes a report to be sent. Never waits."""
        self._waiting.append(report)
        self._filled.set()
        self._emptied.clear()

    async def drain(self) -> None:
        """Waits until everything taken so far is delivered or dropped; the caller bounds it."""
        await self._emptied.wait()

    async def run(self) -> None:
        """Sends for ever."""
        complained_at = -self._limits.complain_seconds
        while True:
            await self._filled.wait()
            try:
                await self._send(self._waiting[0])
            except CallFailed as failure:
                if is_worth_repeating(failure.code):
                    if self._clock.monotonic() - complained_at >= self._limits.complain_seconds:
                        complained_at = self._clock.monotonic()
                        self._log.warning(
                            "A report could not be delivered yet.",
                            report=self._name,
                            error=str(failure),
                        )
                    wait_seconds = self._backoffs.next(PACES.get(failure.code, Pace.SLOW))
                    await self._clock.sleep(max(wait_seconds, failure.retry_after_seconds or 0.0))
                    while len(self._waiting) > 1:
                        self._waiting.popleft()
                    continue
                self._log.error(
                    "The gateway refuses a report.", report=self._name, error=str(failure)
                )
            self._backoffs.reset()
            self._waiting.popleft()
            if not self._waiting:
                self._filled.clear()
                self._emptied.set()
