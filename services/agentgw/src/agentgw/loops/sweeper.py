"""The slow look at everybody: what finds a claim whose hint was lost without a trace.

Every waiter is read again once per interval, a slice of them at a time, so that neither this
process nor the database sees them all at once. A waiter that was read for another reason is not due
yet.
"""

from __future__ import annotations

from typing import Final

from agentgw.store.sessions import Sessions
from svckit.system import Clock

__all__ = ["Sweeper"]

SLICES_PER_INTERVAL: Final = 25


class Sweeper:
    """The loop."""

    def __init__(self, sessions: Sessions, *, interval_seconds: float, clock: Clock) -> None:
        self._sessions = sessions
        self._interval_seconds = interval_seconds
        self._clock = clock

    async def run(self) -> None:
        """Sweeps for ever."""
        while True:
            await self._clock.sleep(self._interval_seconds / SLICES_PER_INTERVAL)
            self.run_once()

    def run_once(self) -> int:
        """Makes due who was last read an interval ago. Returns how many."""
        return self._sessions.sweep(older_than_seconds=self._interval_seconds)
