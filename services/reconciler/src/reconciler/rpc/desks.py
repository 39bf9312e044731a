"""Who looks at the queue for the workers that wait, and when.

Promises: one look for each sign that a job may be there (a hint, a job that was found beside
another, the slow poll), however many workers wait; no look while it is known that there is none. A
sign that comes during a look leads to another one. Workers that would be given the same jobs share
a desk, and what one of them has found out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from weakref import WeakValueDictionary

from reconciler.core.jobs import AcquiredJob
from reconciler.rpc.waits import Waits
from reconciler.store.jobs import JobQueue, Worker
from svckit.system import Clock

__all__ = ["Desk", "Desks"]


class Desk:
    """Gives workers of one kind their jobs, one worker at a time."""

    def __init__(self, queue: JobQueue, waits: Waits, clock: Clock, poll_seconds: float) -> None:
        self._queue = queue
        self._waits = waits
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._turn = asyncio.Lock()
        self._empty_since: int | None = None  # so many hints had been heard
        self._poll_at = 0.0

    async def take(self, worker: Worker) -> AcquiredJob | None:
        """The next job the worker may run, now its own; None if there is none."""
        async with self._turn:
            heard = self._waits.job_hints
            if self._empty_since == heard and self._clock.monotonic() < self._poll_at:
                return None
            self._empty_since = None
            job = await self._queue.acquire(worker, self._clock.now())
            if job is None or not job.has_next:
                self._empty_since = heard
                self._poll_at = self._clock.monotonic() + self._poll_seconds
            return job

    @property
    def seconds_to_poll(self) -> float:
        """In how long who waits looks without any sign, since hints may be lost."""
        return min(max(0.0, self._poll_at - self._clock.monotonic()), self._poll_seconds)


class Desks:
    """The desks of one replica. One lasts as long as somebody has it."""

    def __init__(self, queue: JobQueue, waits: Waits, clock: Clock, poll_seconds: float) -> None:
        self._queue = queue
        self._waits = waits
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._desks: WeakValueDictionary[Hashable, Desk] = WeakValueDictionary()

    def of(self, worker: Worker) -> Desk:
        """The desk of all workers that would be given the same jobs, by the same key."""
        kind = (
            frozenset(worker.provisioner_types),
            frozenset(worker.tags.items()),
            worker.organization_id,
            worker.key_id,
        )
        desk = self._desks.get(kind)
        if desk is None:
            desk = Desk(self._queue, self._waits, self._clock, self._poll_seconds)
            self._desks[kind] = desk
        return desk
