"""Tells the control plane which events were written, and which acknowledgements got lost."""

from __future__ import annotations

import asyncio
from typing import Final

from agentgw.store.records import PendingRecords
from agentgw.store.sessions import Sessions
from agentgw.store.truth import Truth
from svckit.backoff import Backoff
from svckit.errors import InvalidArgument, ServiceError
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["Recorder"]

CALL_TIMEOUT_SECONDS: Final = 10.0
RETRY_INITIAL_SECONDS: Final = 0.2
RETRY_MAXIMUM_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 60.0

_log = get_logger("agentgw.recorder")


class Recorder:
    """The loop."""

    def __init__(
        self,
        truth: Truth,
        records: PendingRecords,
        sessions: Sessions,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._truth = truth
        self._records = records
        self._sessions = sessions
        self._clock = clock
        self._backoff = Backoff(RETRY_INITIAL_SECONDS, RETRY_MAXIMUM_SECONDS, entropy)

    async def run(self) -> None:
        """Records for ever."""
        while True:
            await self._records.nudge.wait(IDLE_SECONDS)
            while len(self._records):
                if await self.run_once():
                    self._backoff.reset()
                else:
                    await self._clock.sleep(self._backoff.next())

    async def run_once(self) -> bool:
        """Records what is pending, one call's worth. False if it is to be tried again."""
        records = self._records.take()
        if not records:
            return True
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                accepted = await self._truth.record_reinits(records)
        except InvalidArgument as error:
            _log.error("Deliveries were refused and are forgotten", error=error, count=len(records))
            return True
        except (ServiceError, TimeoutError) as error:
            self._records.put_back(records)
            _log.warning("Deliveries cannot be recorded yet", error=error, count=len(self._records))
            return False
        except asyncio.CancelledError:
            self._records.put_back(records)
            raise
        self._sessions.note_recorded(
            [record for record, is_kept in zip(records, accepted, strict=False) if is_kept]
        )
        return True
