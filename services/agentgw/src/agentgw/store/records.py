"""What the control plane has yet to hear of: deliveries, and acknowledgements that got lost.

Both may be late, and past a limit the oldest are dropped and counted. A delivery only tells how
long it took: whether a claim is delivered again depends on the agent's acknowledgement alone. A
lost acknowledgement is found again by every look at its agent, which waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from agentgw.core.records import ReinitRecord
from agentgw.store.metrics import GatewayMetrics
from svckit.nudge import Nudge

__all__ = ["RECORDS_PER_CALL_MAX", "PendingRecords"]

RECORDS_PER_CALL_MAX: Final = 2_000
RECORDS_PENDING_MAX: Final = 50_000


class PendingRecords:
    """A bounded queue, in the order of events."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._records: deque[ReinitRecord] = deque()
        self.nudge: Final = Nudge()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: ReinitRecord) -> None:
        """Notes one."""
        if len(self._records) >= RECORDS_PENDING_MAX:
            self._records.popleft()
            self._metrics.count_dropped_record()
        self._records.append(record)
        self.nudge.set()

    def take(self) -> tuple[ReinitRecord, ...]:
        """The oldest, one call's worth; empty if there are none."""
        count = min(len(self._records), RECORDS_PER_CALL_MAX)
        return tuple(self._records.popleft() for _ in range(count))

    def put_back(self, records: Sequence[ReinitRecord]) -> None:
        """They did not get through."""
        self._records.extendleft(reversed(records))
