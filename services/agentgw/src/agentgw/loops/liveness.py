"""Tells the control plane which agents are connected here, and which have vanished."""

from __future__ import annotations

import asyncio
from typing import Final

from agentgw.core.liveness import LivenessBook
from agentgw.store.truth import Truth
from svckit.errors import ServiceError
from svckit.log import get_logger
from svckit.system import Clock

__all__ = ["LivenessReporter"]

TICK_SECONDS: Final = 0.5  # a prebuild is eligible only once its agent counts as connected
CALL_TIMEOUT_SECONDS: Final = 10.0

_log = get_logger("agentgw.liveness")


class LivenessReporter:
    """The loop."""

    def __init__(
        self, truth: Truth, liveness: LivenessBook, *, heartbeat_seconds: float, clock: Clock
    ) -> None:
        self._truth = truth
        self._liveness = liveness
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._tried_at = clock.monotonic()
        self._is_failing = False

    async def run(self) -> None:
        """Reports for ever."""
        while True:
            while await self.run_once():
                pass
            await self._clock.sleep(TICK_SECONDS)

    async def run_once(self) -> bool:
        """One report. Whether there was something to tell and it got through.

        An empty one is told now and then: without it, nobody knows that the agents are gone rather
        than the gateways.
        """
        now_seconds = self._clock.monotonic()
        report = self._liveness.take_report(now_seconds=now_seconds)
        is_due = now_seconds - self._tried_at >= self._heartbeat_seconds
        if not (report or is_due):
            return False
        self._tried_at = now_seconds
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                await self._truth.record_liveness(report)
        except (ServiceError, TimeoutError) as error:
            self._liveness.put_back(report, now_seconds=self._clock.monotonic())
            if not self._is_failing:
                _log.warning("Connected agents cannot be reported", error=error)
            self._is_failing = True
            return False
        self._is_failing = False
        return bool(report)
