"""Reads of durable state: whoever is due, in as few calls as possible.

However many agents connect at once, they cost one call per 2000 of them. The ordinary lane waits a
moment before each read, so that a storm gathers; the urgent one does not. While the truth is not to
be had, nobody is told anything, waiters are kept, and the read is repeated with backoff.
"""

from __future__ import annotations

import asyncio
from typing import Final

from agentgw.core.session_book import Lane, Read
from agentgw.store.metrics import GatewayMetrics
from agentgw.store.sessions import Sessions
from agentgw.store.truth import Truth
from svckit.backoff import Backoff
from svckit.errors import ServiceError, Unavailable
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["CheckReader"]

GATHER_SECONDS: Final = 0.02
READ_TIMEOUT_SECONDS: Final = 10.0
RETRY_INITIAL_SECONDS: Final = 0.1
RETRY_MAXIMUM_SECONDS: Final = 2.0
IDLE_SECONDS: Final = 60.0

_log = get_logger("agentgw.reader")


class CheckReader:
    """The loop of one lane."""

    def __init__(
        self,
        lane: Lane,
        truth: Truth,
        sessions: Sessions,
        *,
        metrics: GatewayMetrics,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._lane = lane
        self._truth = truth
        self._sessions = sessions
        self._metrics = metrics
        self._clock = clock
        self._backoff = Backoff(RETRY_INITIAL_SECONDS, RETRY_MAXIMUM_SECONDS, entropy)
        self._is_failing = False

    async def run(self) -> None:
        """Reads for ever."""
        while True:
            if not await self._sessions.nudge_of(self._lane).wait(IDLE_SECONDS):
                continue
            await self._gather()
            while await self.run_once():
                await self._gather()

    async def run_once(self) -> bool:
        """One read. False if nobody was due."""
        read = self._sessions.begin_read(self._lane)
        if read is None:
            return False
        try:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                checks = await self._truth.check_agents(read.token_hashes)
            told = self._sessions.finish_read(read, checks)
        except (ServiceError, TimeoutError, ValueError) as error:
            await self._retry_later(read, error)
            return True
        except asyncio.CancelledError:
            self._sessions.fail_read(read)
            raise
        self._metrics.record_read(len(read.token_hashes))
        self._backoff.reset()
        if self._is_failing:
            self._is_failing = False
            _log.info("Agents can be looked at again", action="read", count=len(told))
        return True

    async def _gather(self) -> None:
        if self._lane is Lane.ORDINARY:
            await self._clock.sleep(GATHER_SECONDS)

    async def _retry_later(self, read: Read, error: Exception) -> None:
        delay = self._backoff.next()
        if isinstance(error, ServiceError) and error.retry_after_seconds is not None:
            delay = max(delay, min(error.retry_after_seconds, RETRY_MAXIMUM_SECONDS))
        self._metrics.count_read_failure(type(error).__name__)
        if not self._is_failing:
            self._is_failing = True
            log = _log.warning if isinstance(error, (Unavailable, TimeoutError)) else _log.error
            log("Agents cannot be looked at; they wait", error=error, count=len(read.token_hashes))
        try:
            await self._clock.sleep(delay)
        finally:
            self._sessions.fail_read(read)
