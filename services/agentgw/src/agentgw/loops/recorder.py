"""Tells the control plane of acknowledgements and deliveries, as many as there are at a time.

While one call is under way the next gathers: a lone acknowledgement waits for nobody, and a burst
of claims costs a few calls and commits. What nobody waits for waits a moment for what follows it;
each step says how long ago it was.
"""

from __future__ import annotations

import asyncio
from typing import Final

from agentgw.store.records import Pending, PendingRecords
from agentgw.store.sessions import Sessions
from agentgw.store.truth import Truth
from svckit.backoff import Backoff
from svckit.errors import InvalidArgument, ServiceError, Unavailable
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["Recorder"]

CALL_TIMEOUT_SECONDS: Final = 5.0  # below what an agent waits for its answer
RETRY_INITIAL_SECONDS: Final = 0.2
RETRY_MAXIMUM_SECONDS: Final = 5.0
LINGER_SECONDS: Final = 0.05
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
        self._is_failing = False

    async def run(self) -> None:
        """Records for ever."""
        while True:
            await self._records.nudge.wait(IDLE_SECONDS)
            while len(self._records):
                await self._records.wait_until_awaited(LINGER_SECONDS)
                if await self.run_once():
                    self._backoff.reset()
                else:
                    await self._records.wait_until_awaited(self._backoff.next())

    async def run_once(self) -> bool:
        """Records what is pending, one call's worth. False if it is to be tried again."""
        pending = self._records.take()
        if not pending:
            return True
        records = [one.record for one in pending]
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                accepted = await self._truth.record_reinits(records)
        except InvalidArgument as error:
            for one in pending:
                one.fail(error)
            _log.error("Records were refused and are forgotten", error=error, count=len(records))
            return True
        except ServiceError as error:
            return self._try_again(pending, error)
        except TimeoutError:
            return self._try_again(pending, Unavailable("the control plane does not answer"))
        except asyncio.CancelledError:
            self._records.put_back(pending, Unavailable("this gateway is going away"))
            raise
        if self._is_failing:
            self._is_failing = False
            _log.info("Claims can be recorded again", action="record", count=len(records))
        for one, is_accepted in zip(pending, accepted, strict=True):
            one.settle(is_accepted)
        self._sessions.note_recorded(
            [record for record, is_kept in zip(records, accepted, strict=True) if is_kept]
        )
        return True

    def _try_again(self, pending: tuple[Pending, ...], error: ServiceError) -> bool:
        self._records.put_back(pending, error)
        if not self._is_failing:
            self._is_failing = True
            _log.warning("Claims cannot be recorded yet", error=error, count=len(pending))
        return False
