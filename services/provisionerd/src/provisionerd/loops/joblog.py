"""One job's log: the provisioner writes, heartbeats and the last report carry it away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from provisionerd.core.jobs import LogLine
from provisionerd.core.logbuffer import BATCH_LINES_MAX, LogBuffer
from provisionerd.core.provisioner import Level
from svckit.system import Clock

__all__ = ["JobLog"]


class JobLog:
    """Is the `LogSink` of a job. `filled` is set when a batch is worth a call of its own."""

    def __init__(self, clock: Clock, buffer: LogBuffer | None = None) -> None:
        self._clock = clock
        self._buffer = buffer or LogBuffer()
        self._lock = asyncio.Lock()
        self.filled = asyncio.Event()
        self.refused_total = 0

    def __call__(self, level: Level, stage: str, text: str) -> None:
        """Takes a line; never blocks."""
        self._buffer.add(self._clock.now(), level, stage, text)
        if len(self._buffer) >= BATCH_LINES_MAX // 2:
            self.filled.set()

    @property
    def dropped_total(self) -> int:
        """How many lines did not fit, or were refused."""
        return self._buffer.dropped_total + self.refused_total

    @property
    def has_more_than_a_batch(self) -> bool:
        """Whether one more call will not empty it."""
        return len(self._buffer) > BATCH_LINES_MAX

    @asynccontextmanager
    async def batch(self) -> AsyncGenerator[tuple[LogLine, ...]]:
        """The oldest lines, for one call. They are forgotten if the block ends well, and come again
        if it raises; nobody else gets them in between.
        """
        async with self._lock:
            lines = self._buffer.next_batch(self._clock.now())
            yield lines
            if lines:
                self._buffer.acknowledge(lines[-1].sequence)
            if len(self._buffer) < BATCH_LINES_MAX // 2:
                self.filled.clear()

    async def drop_batch(self) -> None:
        """Gives up the oldest lines: the control plane will never take them."""
        async with self.batch() as lines:
            self.refused_total += len(lines)
