"""Who looks at the queue for the workers that wait, and when.

Promises: one look for each sign that a job may be there (a hint, a job that was found beside
another, a worker that comes, the slow poll), however many workers wait; no look while it is known
that there is none. A sign that comes during a look leads to another one. Workers that would be
given the same jobs share a desk, and what one of them has found out; of many jobs that wait, each
gets no more at once than its share, however many it wants.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Hashable
from contextlib import contextmanager
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
        self._workers = 0
        self._others = 0  # that were there after the last look
        self._empty_since: int | None = None  # so many hints had been heard
        self._poll_at = 0.0

    @contextmanager
    def occupied(self) -> Generator[None]:
        """For as long as a worker is here, which then has a share in what waits. Who comes looks:
        what others knew may be from before a hint that was lost.
        """
        self._workers += 1
        self._empty_since = None
        try:
            yield
        finally:
            self._workers -= 1

    async def take(self, worker: Worker, wanted: int) -> tuple[AcquiredJob, ...]:
        """The next jobs the worker may run, now its own; none if there are none, or it wants
        none.
        """
        if wanted <= 0:
            return ()
        async with self._turn:
            heard = self._waits.job_hints
            if self._empty_since == heard and self._clock.monotonic() < self._poll_at:
                return ()
            self._empty_since = None
            share = max(1, self._others // max(1, self._workers))
            acquired = await self._queue.acquire_many(worker, min(wanted, share), self._clock.now())
            self._others = acquired.others
            if not acquired.others:
                self._empty_since = heard
                self._poll_at = self._clock.monotonic() + self._poll_seconds
            return acquired.jobs

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
