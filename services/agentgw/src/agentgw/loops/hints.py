"""Hints from the bus: one subscription for all claims, fanned out to who waits here.

A hint makes its sessions due and nothing else. Whenever the bus says that messages may have been
lost, everybody becomes due. What is no claim is counted, and logged once.
"""

from __future__ import annotations

import asyncio
from typing import Final

from agentgw.store.metrics import GatewayMetrics
from agentgw.store.sessions import Sessions
from bus.api import Bus, Message
from bus.errors import BusUnavailable, EventInvalid
from bus.events import decode_claim
from bus.subjects import CLAIMS_ALL
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock

__all__ = ["HintReader"]

HINTS_PENDING_MAX: Final = 16_384
IDLE_SECONDS: Final = 60.0
BETWEEN_DISTURBANCES_SECONDS: Final = 0.2  # a burst of drops is one disturbance

_log = get_logger("agentgw.hints")


class HintReader:
    """Two loops, `run` and `run_disturbances`."""

    def __init__(
        self, bus: Bus, sessions: Sessions, *, metrics: GatewayMetrics, clock: Clock
    ) -> None:
        self._bus = bus
        self._sessions = sessions
        self._metrics = metrics
        self._clock = clock
        self._disturbed = Nudge()
        self._has_logged_invalid = False
        self.subscribed: Final = asyncio.Event()

    async def run(self) -> None:
        """Listens for ever. `subscribed` is set once no later hint can be missed unnoticed."""
        unregister = self._bus.on_disturbance(self._disturbed.set)
        try:
            async with self._bus.subscribe(CLAIMS_ALL, pending_max=HINTS_PENDING_MAX) as hints:
                await self._flush()
                self.subscribed.set()
                async for message in hints:
                    self.read(message)
        finally:
            unregister()

    async def run_disturbances(self) -> None:
        """Has everybody looked at again after every disturbance, for ever."""
        while True:
            if not await self._disturbed.wait(IDLE_SECONDS):
                continue
            self._metrics.count_disturbance()
            _log.info(
                "Hints may have been lost; looking at every agent again",
                action="reread",
                count=self._sessions.count,
            )
            self._sessions.hint_all()
            await self._clock.sleep(BETWEEN_DISTURBANCES_SECONDS)

    def read(self, message: Message) -> None:
        """Takes in one message."""
        try:
            claim = decode_claim(message.subject, message.payload)
        except EventInvalid as error:
            self._metrics.count_invalid_hint()
            if not self._has_logged_invalid:
                self._has_logged_invalid = True
                _log.warning(
                    "A message on a claims subject is no claim; further ones are only counted",
                    error=error,
                    subject=message.subject,
                )
            return
        self._metrics.count_hint(is_awaited=self._sessions.hint(claim.workspace_id))

    async def _flush(self) -> None:
        try:
            await self._bus.flush()
        except BusUnavailable as error:
            # The connection that brings the subscription to the server is itself a disturbance.
            _log.warning("The bus is not connected; claims are found by looking", error=error)
