"""Clocks for tests. Both satisfy `svckit.system.Clock`."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

__all__ = ["EPOCH", "LoopClock", "SettableClock"]

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)  # a Tuesday


class SettableClock:
    """A clock that stands still until it is moved. Who sleeps wakes when it is moved past that."""

    def __init__(self, now: datetime = EPOCH) -> None:
        self._start = now
        self._elapsed = timedelta()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []
        self._serial = itertools.count()

    def now(self) -> datetime:
        """The time it was set to, aware, in UTC."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds since the clock was made; moving the wall clock with `set` does not change it."""
        return self._elapsed.total_seconds()

    @property
    def sleeping(self) -> int:
        """How many sleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Returns when the clock was advanced by so much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        due = self._elapsed + timedelta(seconds=seconds)
        heapq.heappush(self._sleepers, (due, next(self._serial), future))
        await future

    def advance(self, seconds: float) -> None:
        """Moves time on and wakes who is due, earliest first."""
        if seconds < 0:
            raise ValueError(f"seconds is {seconds}; time only moves on (see `set`)")
        self._elapsed += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():  # it was cancelled
                future.set_result(None)

    def set(self, now: datetime) -> None:
        """Sets the wall clock, as an administrator or NTP does: nobody's sleep is affected."""
        self._start = now - self._elapsed


class LoopClock:
    """The clock of the running loop, for loops of virtual time. The loop's 0 is `start`."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start

    def now(self) -> datetime:
        """The loop's time as a date, aware, in UTC."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """The loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleeps in the loop's time."""
        await asyncio.sleep(seconds)
