"""Finds jobs nobody hears of and settles them: another worker for a claim, an error for the
rest.

A job is hung only if it was silent while it could be heard. After a start of ours, or a time
without Postgres, workers that are well have said nothing for as long as we were away: they are
given the time to say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from reconciler.core.aftermath import announce
from reconciler.core.hints import Hints
from reconciler.core.jobs import Silence
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
HEARING_SECONDS = 30.0  # a worker that is well has got a heartbeat through by then
LATE_SECONDS = 10.0  # a look that comes later than this was held up, and so were heartbeats
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
        self._looked_at: float | None = None
        self._hears_since = 0.0

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
        is_hearing = self._is_hearing()
        async with self._database.try_lock(REAPER_LOCK) as is_leader:
            self._looked_at = self._clock.monotonic()
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
                if job.silence is Silence.HUNG and not is_hearing:
                    continue
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

    def _is_hearing(self) -> bool:
        """Whether every heartbeat of the last while has had a chance to arrive."""
        settings, now = self._settings, self._clock.monotonic()
        late_seconds = 2 * settings.tick_seconds + LATE_SECONDS
        if self._looked_at is None or now - self._looked_at > late_seconds:
            self._hears_since = now
        return now - self._hears_since >= min(HEARING_SECONDS, settings.hung_seconds)
