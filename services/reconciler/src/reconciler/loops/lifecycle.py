"""The lifecycle executor: does for each workspace of a person what is due for it.

Promises: one replica at a time (a lock for the length of a pass; losing it costs nothing, because
every change decides again under the workspace's own lock); a prebuild is never touched; a pass is
bounded, and the next begins at once if there was more; a workspace whose turn fails is left alone
for a while and holds up no other. A pass starts on a tick with jitter, or when something is due.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from opentelemetry import trace

from reconciler.core.hints import Hints
from reconciler.core.lifecycle import Delete, MarkDormant, PlanStart, Start, Stop, Wake
from reconciler.loops.leadership import LIFECYCLE_LOCK
from reconciler.store.db import Database
from reconciler.store.lifecycle import DueWorkspace, Lifecycles, Settled
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.system import Clock, Entropy
from svckit.telemetry import current_traceparent

__all__ = ["LifecycleLoop", "LifecyclePass"]

LOG = get_logger(__name__)
TRACER = trace.get_tracer("reconciler")
BATCH_MAX: Final = 500
RESTING_MAX: Final = 10_000
REST_SECONDS: Final = 60.0
"""How long a workspace is left alone after its turn failed."""
WAIT_SECONDS_MIN: Final = 0.05


@dataclass(slots=True, kw_only=True)
class LifecyclePass:
    """What one pass did, in workspaces. `is_leader` False: another replica holds the lock.
    `wait_seconds` is how long there is nothing to do, None if nothing is known to come.
    """

    is_leader: bool = True
    started: int = 0
    stopped: int = 0
    dormant: int = 0
    woken: int = 0
    deleted: int = 0
    failed: int = 0
    wait_seconds: float | None = None
    elapsed_seconds: float = field(default=0.0, compare=False)

    def count(self, settled: Settled) -> None:
        """Counts what was done for one workspace."""
        match settled.action:
            case Start():
                self.started += 1
            case Stop():
                self.stopped += 1
            case MarkDormant():
                self.dormant += 1
            case Wake():
                self.woken += 1
            case Delete():
                self.deleted += 1
            case PlanStart():
                pass  # nothing happened to the workspace


class LifecycleLoop:
    """Starts, stops, rests and deletes workspaces when they are due."""

    def __init__(
        self,
        database: Database,
        lifecycles: Lifecycles,
        hints: Hints,
        clock: Clock,
        entropy: Entropy,
        new_id: Callable[[], UUID],
        *,
        concurrency: int,
        tick_seconds: float,
    ) -> None:
        self._database = database
        self._lifecycles = lifecycles
        self._hints = hints
        self._clock = clock
        self._entropy = entropy
        self._new_id = new_id
        self._concurrency = concurrency
        self._tick_seconds = tick_seconds
        self._resting: dict[UUID, float] = {}

    async def run(self) -> None:
        """Passes, forever."""
        while True:
            wait = self._tick_seconds * (0.5 + self._entropy.random())
            try:
                done = await self.run_once()
                self._say(done)
                if done.wait_seconds is not None:
                    wait = min(wait, max(WAIT_SECONDS_MIN, done.wait_seconds))
            except Unavailable as error:
                LOG.warning("a lifecycle pass was cut short", error=error)
            await self._clock.sleep(wait)

    async def run_once(self) -> LifecyclePass:
        """One pass; does nothing on a replica that does not lead."""
        began = self._clock.monotonic()
        done = LifecyclePass()
        with TRACER.start_as_current_span("lifecycle.pass"):
            async with self._database.try_lock(LIFECYCLE_LOCK) as is_leader:
                if not is_leader:
                    return LifecyclePass(is_leader=False)
                self._wake_resting(began)
                coming = await self._look(BATCH_MAX)
                now = self._clock.now()
                due = [each for each in coming if each.due_at <= now]
                await self._settle_all(due, done)
                if due:
                    coming = await self._look(1)  # one rule may make another one's turn
                done.wait_seconds = self._find_wait(coming)
        done.elapsed_seconds = self._clock.monotonic() - began
        return done

    async def _settle_all(self, due: Sequence[DueWorkspace], done: LifecyclePass) -> None:
        queue = deque(due)

        async def work() -> None:
            while queue:
                await self._settle(queue.popleft().id, done)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._concurrency, len(queue))):
                tasks.create_task(work())

    async def _settle(self, workspace_id: UUID, done: LifecyclePass) -> None:
        try:
            settled = await self._lifecycles.settle(
                workspace_id,
                self._new_id(),
                self._new_id(),
                self._clock.now(),
                current_traceparent(),
            )
        except Unavailable:
            raise
        except Exception as error:
            # One workspace's odd rows must not keep all the others from their turn.
            done.failed += 1
            if len(self._resting) < RESTING_MAX:
                self._resting[workspace_id] = self._clock.monotonic() + REST_SECONDS
            LOG.warning(
                "a workspace's turn failed; it is left alone for a while",
                workspace_id=str(workspace_id),
                delay_seconds=REST_SECONDS,
                error=error,
            )
            return
        if settled is None:
            return  # it changed since it was listed
        done.count(settled)
        self._hints.workspace_changed(workspace_id)
        if settled.queued is not None:
            queued = settled.queued
            self._hints.job_posted(queued.organization_id, queued.job_id, queued.provisioner_type)

    async def _look(self, limit: int) -> tuple[DueWorkspace, ...]:
        """Who is due, or will be before the latest tick."""
        until = self._clock.now() + timedelta(seconds=1.5 * self._tick_seconds)
        return await self._lifecycles.list_due(until, limit, except_ids=self._resting)

    def _find_wait(self, coming: Sequence[DueWorkspace]) -> float | None:
        now = self._clock.now()
        return max(0.0, (coming[0].due_at - now).total_seconds()) if coming else None

    def _wake_resting(self, now: float) -> None:
        for workspace_id in [each for each, until in self._resting.items() if until <= now]:
            del self._resting[workspace_id]

    def _say(self, done: LifecyclePass) -> None:
        if not (done.started or done.stopped or done.dormant or done.woken or done.deleted):
            return
        LOG.info(
            "workspaces had their turn",
            started=done.started,
            stopped=done.stopped,
            dormant=done.dormant,
            woken=done.woken,
            deleted=done.deleted,
            failed=done.failed,
            elapsed_seconds=round(done.elapsed_seconds, 4),
        )
