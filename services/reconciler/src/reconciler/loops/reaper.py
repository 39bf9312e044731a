"""Finds jobs nobody hears of and settles them: another worker for a claim, an error for the
rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from reconciler.core.aftermath import announce
from reconciler.core.hints import Hints
from reconciler.loops.leadership import REAPER_LOCK
from reconciler.store.builds import JobEnds
from reconciler.store.db import Database
from reconciler.store.jobs import JobQueue
from svckit.errors import ServiceError, Unavailable
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["Reaper", "ReaperSettings"]

LOG = get_logger(__name__)
BATCH_MAX = 200
WORKER_FORGOTTEN_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaperSettings:
    """How long a silence may last, in seconds."""

    unconfirmed_seconds: float = 15.0
    hung_seconds: float = 300.0
    pending_seconds: float = 1800.0
    tick_seconds: float = 5.0


class Reaper:
    """Settles silent jobs."""

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        ends: JobEnds,
        hints: Hints,
        clock: Clock,
        entropy: Entropy,
        settings: ReaperSettings,
    ) -> None:
        self._database = database
        self._queue = queue
        self._ends = ends
        self._hints = hints
        self._clock = clock
        self._entropy = entropy
        self._settings = settings

    async def run(self) -> None:
        """Looks, forever."""
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                LOG.warning("the reaper could not look", error=error)
            await self._clock.sleep(self._settings.tick_seconds * (0.5 + self._entropy.random()))

    async def run_once(self) -> int:
        """Settles what is silent now; returns how many."""
        settled = 0
        async with self._database.try_lock(REAPER_LOCK) as is_leader:
            if not is_leader:
                return 0
            now = self._clock.now()
            silent = await self._queue.list_silent(
                now,
                unconfirmed=timedelta(seconds=self._settings.unconfirmed_seconds),
                hung=timedelta(seconds=self._settings.hung_seconds),
                stale=timedelta(seconds=self._settings.pending_seconds),
                limit=BATCH_MAX,
            )
            for job in silent:
                try:
                    aftermath = await self._ends.settle_silent(job, self._clock.now())
                except ServiceError as error:
                    LOG.warning("a silent job was not settled", job_id=str(job.id), error=error)
                    continue
                if aftermath is not None:
                    settled += 1
                    announce(self._hints, aftermath)
                    LOG.warning(
                        "a silent job was settled",
                        job_id=str(job.id),
                        attempt=job.attempt,
                        reason=job.silence.value,
                        state=aftermath.status.value,
                    )
            await self._queue.forget_workers(now - WORKER_FORGOTTEN_AFTER)
        return settled
