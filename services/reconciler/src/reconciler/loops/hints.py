"""Hints inside this replica, by nudge, and to the others, by bus.

Promises: a local loop is nudged at once; the bus hears of it in the background, from a bounded
queue that drops the newest when full, because every hint may be lost. Of the hints that would make
their readers look at the same, one at a time is in the queue. A job that waits for a worker is said
at once, and what else waits with it; the rest gathers a moment, so that the steps of one claim are
a message or two instead of ten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from bus.api import Bus
from bus.errors import BusError
from bus.events import Event, JobPosted, PoolChanged, WorkspaceChanged, encode_event
from bus.subjects import jobs_posted_subject, pools_changed_subject, workspaces_changed_subject
from reconciler.core.hints import Promise
from reconciler.loops.outbox import Promises
from svckit.log import get_logger
from svckit.nudge import Nudge

__all__ = ["BusHints"]

LOG = get_logger(__name__)
QUEUE_MAX = 4096
LINGER_SECONDS = 0.05  # as the pool loop debounces; less than people notice
IDLE_SECONDS = 60.0


class BusHints:
    """Implements `Hints`. `run` publishes what was said, forever."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queued: dict[tuple[str, str], tuple[str, Event]] = {}
        self._said = Nudge()
        self._urgent = Nudge()
        self._workers: set[Nudge] = set()
        self._watchers: defaultdict[UUID, set[Nudge]] = defaultdict(set)
        self._pool_watchers: set[Nudge] = set()
        self.job_hints = 0
        self.pool = Nudge()
        self.promises = Promises()

    def job_posted(self, organization_id: UUID, job_id: UUID, provisioner_type: str) -> None:
        """Wakes the workers that wait here, and those that wait on other replicas."""
        self.wake_workers()
        event = JobPosted(job_id=str(job_id), provisioner_type=provisioner_type)
        self._say(jobs_posted_subject(str(organization_id)), event)

    def pool_changed(self, preset_id: UUID, reason: str) -> None:
        """Wakes the pool loop, here or on the replica that leads."""
        self.wake_pool()
        self._say(
            pools_changed_subject(str(preset_id)),
            PoolChanged(preset_id=str(preset_id), reason=reason),
        )

    def workspace_changed(self, workspace_id: UUID) -> None:
        """Wakes whoever watches the workspace."""
        self.wake_watchers(workspace_id)
        self._say(
            workspaces_changed_subject(str(workspace_id)),
            WorkspaceChanged(workspace_id=str(workspace_id)),
        )

    def outbox_written(self, promise: Promise) -> None:
        """Wakes the publisher of the outbox."""
        self.promises.add(promise)

    def wake_workers(self) -> None:
        """Lets the waiting workers of this replica look at the queue."""
        self.job_hints += 1
        for nudge in self._workers:
            nudge.set()

    def wake_pool(self) -> None:
        """Lets the pool loop and whoever watches pools look."""
        self.pool.set()
        for nudge in self._pool_watchers:
            nudge.set()

    def wake_watchers(self, workspace_id: UUID) -> None:
        """Lets whoever watches a workspace here look."""
        for nudge in self._watchers.get(workspace_id, ()):
            nudge.set()

    @contextmanager
    def waiting_worker(self) -> Generator[Nudge]:
        """A nudge that is set when a job may be there."""
        nudge = Nudge()
        self._workers.add(nudge)
        try:
            yield nudge
        finally:
            self._workers.discard(nudge)

    @contextmanager
    def watching_pools(self) -> Generator[Nudge]:
        """A nudge that is set when a pool may have changed."""
        nudge = Nudge()
        self._pool_watchers.add(nudge)
        try:
            yield nudge
        finally:
            self._pool_watchers.discard(nudge)

    @contextmanager
    def watching(self, workspace_id: UUID) -> Generator[Nudge]:
        """A nudge that is set when a workspace may have changed."""
        nudge = Nudge()
        self._watchers[workspace_id].add(nudge)
        try:
            yield nudge
        finally:
            self._watchers[workspace_id].discard(nudge)
            if not self._watchers[workspace_id]:
                del self._watchers[workspace_id]

    def _say(self, subject: str, event: Event) -> None:
        key = _look_of(subject, event)
        if key in self._queued:
            return
        if len(self._queued) >= QUEUE_MAX:
            LOG.debug("a hint was dropped", subject=subject)
            return
        self._queued[key] = (subject, event)
        self._said.set()
        if isinstance(event, JobPosted):
            self._urgent.set()

    async def run(self) -> None:
        """Publishes hints, forever. The bus being away loses them, which is allowed."""
        while True:
            await self._said.wait(IDLE_SECONDS)
            await self._urgent.wait(LINGER_SECONDS)
            batch, self._queued = self._queued, {}
            for subject, event in batch.values():
                try:
                    await self._bus.publish(subject, encode_event(event))
                except BusError as error:
                    LOG.debug("a hint was lost", subject=subject, error=error)


def _look_of(subject: str, event: Event) -> tuple[str, str]:
    """What a hint makes its readers look at: everything of its subject, or the jobs of a type."""
    return subject, event.provisioner_type if isinstance(event, JobPosted) else ""
