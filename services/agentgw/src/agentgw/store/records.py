"""What the control plane has yet to hear of: acknowledgements, and deliveries.

What comes together is told together. An agent that acknowledges waits for the answer, and repeats
itself if there is none. Deliveries, agents that begin to apply, and acknowledgements that got lost
and were learned of from the agent's memory, have nobody who waits; they may be late, and past a
limit the oldest are dropped and counted. The first two only tell how long it took: whether a claim
is delivered again depends on the agent's acknowledgement alone. A lost acknowledgement is found
again by every look at its agent, which waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from agentgw.core.records import ReinitRecord
from agentgw.store.metrics import GatewayMetrics
from svckit.errors import ResourceExhausted, ServiceError
from svckit.nudge import Nudge

__all__ = ["RECORDS_PER_CALL_MAX", "Pending", "PendingRecords"]

RECORDS_PER_CALL_MAX: Final = 2_000
RECORDS_PENDING_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class Pending:
    """One record, and who waits to hear whether the claim is the agent's."""

    record: ReinitRecord
    answer: asyncio.Future[bool] | None = None

    @property
    def awaited(self) -> asyncio.Future[bool] | None:
        """The answer that somebody waits for, still."""
        return None if self.answer is None or self.answer.done() else self.answer

    def settle(self, is_accepted: bool) -> None:
        """It is durable, or was refused."""
        if (awaited := self.awaited) is not None:
            awaited.set_result(is_accepted)

    def fail(self, error: ServiceError) -> None:
        """It may or may not be durable."""
        if (awaited := self.awaited) is not None:
            awaited.set_exception(error)


class PendingRecords:
    """A bounded queue, in the order of events."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._pending: deque[Pending] = deque()
        self.nudge: Final = Nudge()
        self._urgent = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    async def wait_until_awaited(self, seconds: float) -> None:
        """Returns when somebody waits for one of them, or after so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()

    def add(self, record: ReinitRecord) -> None:
        """Notes one that nobody waits for."""
        if len(self._pending) >= RECORDS_PENDING_MAX:
            self._pending.popleft().fail(_full())
            self._metrics.count_dropped_record()
        self._pending.append(Pending(record))
        self.nudge.set()

    async def record(self, record: ReinitRecord) -> bool:
        """Returns once it is durable; False if the claim is not the agent's.

        Raises the ServiceError of the control plane: then it may or may not be durable.
        """
        if len(self._pending) >= RECORDS_PENDING_MAX:
            raise _full()
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append(Pending(record, answer))
        self.nudge.set()
        self._urgent.set()
        return await answer

    def take(self) -> tuple[Pending, ...]:
        """The oldest, one call's worth; empty if there are none."""
        count = min(len(self._pending), RECORDS_PER_CALL_MAX)
        taken = tuple(self._pending.popleft() for _ in range(count))
        if all(one.awaited is None for one in self._pending):
            self._urgent.clear()
        return taken

    def put_back(self, pending: Sequence[Pending], error: ServiceError) -> None:
        """They did not get through: who waits is told so, the others are told of again. Only who
        comes later makes that urgent: there may be so many that nobody else's turn comes.
        """
        for one in pending:
            one.fail(error)
        self._urgent.clear()
        self._pending.extendleft(one for one in reversed(pending) if one.answer is None)


def _full() -> ResourceExhausted:
    return ResourceExhausted("too many acknowledgements wait", reason="TOO_MANY_RECORDS")
