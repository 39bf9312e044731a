"""The pool loop: one snapshot, one plan, every action in its own short transaction.

Promises: one replica at a time (a lock that dies with its connection, and every action re-reads
what it changes, so a lost lock costs nothing but doubled reading); at most `concurrency` actions at
once; one action that fails blocks no other; a pass that is cut short is begun again by the next. A
pass starts on a hint, on a tick with jitter, and when a schedule or a backoff says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from reconciler.core.hints import Hints
from reconciler.core.names import prebuild_name
from reconciler.core.pools import (
    Action,
    BackOffUntil,
    CancelPendingCreations,
    CreatePrebuild,
    DeletePrebuild,
    MarkHardLimited,
    MarkHealthy,
    PoolHealth,
    PoolPlan,
    PoolSettings,
    plan,
)
from reconciler.loops.leadership import POOL_LOCK
from reconciler.store.claims import NewIds
from reconciler.store.db import Database
from reconciler.store.pools import Pools
from svckit.errors import ServiceError, Unavailable
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock, Entropy

__all__ = ["PassResult", "PoolLoop"]

LOG = get_logger(__name__)
DEBOUNCE_SECONDS = 0.05
"""Hints come in bursts: a pass that waits this long serves them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """What one pass did. `is_leader` False: another replica holds the lock, nothing was looked
    at.
    """

    is_leader: bool
    plan: PoolPlan | None = None
    created: int = 0
    deleted: int = 0
    cancelled: int = 0
    failed: int = 0
    elapsed_seconds: float = 0.0


class _Tally:
    def __init__(self) -> None:
        self.created = self.deleted = self.cancelled = self.failed = 0


class PoolLoop:
    """Keeps every pool at its desired size."""

    def __init__(
        self,
        database: Database,
        pools: Pools,
        hints: Hints,
        nudge: Nudge,
        clock: Clock,
        entropy: Entropy,
        new_id: Callable[[], UUID],
        *,
        settings: PoolSettings,
        concurrency: int,
        tick_seconds: float,
    ) -> None:
        self._database = database
        self._pools = pools
        self._hints = hints
        self._nudge = nudge
        self._clock = clock
        self._entropy = entropy
        self._new_id = new_id
        self._settings = settings
        self._concurrency = concurrency
        self._tick_seconds = tick_seconds

    async def run(self) -> None:
        """Passes, forever."""
        while True:
            try:
                result = await self.run_once()
                self._say(result)
            except Unavailable as error:
                LOG.warning("a pool pass was cut short", error=error)
            jitter = 0.5 + self._entropy.random()
            if await self._nudge.wait(self._tick_seconds * jitter):
                await self._clock.sleep(DEBOUNCE_SECONDS)

    async def run_once(self) -> PassResult:
        """One pass; does nothing on a replica that does not lead."""
        started = self._clock.monotonic()
        async with self._database.try_lock(POOL_LOCK) as is_leader:
            if not is_leader:
                return PassResult(is_leader=False)
            snapshot = await self._pools.load_snapshot(self._clock.now())
            decided = plan(snapshot, self._settings)
            tally = await self._apply(decided)
        return PassResult(
            is_leader=True,
            plan=decided,
            created=tally.created,
            deleted=tally.deleted,
            cancelled=tally.cancelled,
            failed=tally.failed,
            elapsed_seconds=self._clock.monotonic() - started,
        )

    async def _apply(self, decided: PoolPlan) -> _Tally:
        """Marks, cancellations and deletions first, then creations; within each, a few at once."""
        tally = _Tally()
        creations = [a for a in decided.actions if isinstance(a, CreatePrebuild)]
        others = [a for a in decided.actions if not isinstance(a, CreatePrebuild)]
        single = [
            CreatePrebuild(preset_id=a.preset_id, count=1)
            for a in creations
            for _ in range(a.count)
        ]
        for batch in (others, single):
            if not batch:
                continue
            limit = asyncio.Semaphore(self._concurrency)
            async with asyncio.TaskGroup() as tasks:
                for action in batch:
                    tasks.create_task(self._apply_one(action, tally, limit))
        return tally

    async def _apply_one(self, action: Action, tally: _Tally, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                await self._carry_out(action, tally)
            except ServiceError as error:
                tally.failed += 1
                LOG.warning(
                    "a pool action failed",
                    action=type(action).__name__,
                    preset_id=str(action.preset_id),
                    error=error,
                )

    async def _carry_out(self, action: Action, tally: _Tally) -> None:
        now = self._clock.now()
        match action:
            case CreatePrebuild(preset_id=preset_id):
                ids = self._ids()
                name = prebuild_name(ids.workspace_id)
                queued = await self._pools.create_prebuild(preset_id, ids, name, now)
                if queued is not None:
                    tally.created += 1
                    self._hints.job_posted(
                        queued.organization_id, queued.job_id, queued.provisioner_type
                    )
            case DeletePrebuild(workspace_id=workspace_id, reason=reason):
                queued = await self._pools.delete_prebuild(
                    workspace_id, reason.value, self._ids(), now
                )
                if queued is not None:
                    tally.deleted += 1
                    self._hints.workspace_changed(workspace_id)
                    self._hints.job_posted(
                        queued.organization_id, queued.job_id, queued.provisioner_type
                    )
            case CancelPendingCreations(workspace_ids=workspace_ids):
                tally.cancelled += await self._pools.cancel_creations(workspace_ids, now)
            case MarkHardLimited(preset_id=preset_id, failure_count=count):
                message = f"{count} builds in a row failed; the pool stopped until it is resumed"
                if await self._pools.mark_health(
                    preset_id, PoolHealth.HARD_LIMITED, message=message, now=now
                ):
                    LOG.error(
                        "a pool reached its hard limit", preset_id=str(preset_id), count=count
                    )
            case MarkHealthy(preset_id=preset_id):
                await self._pools.mark_health(preset_id, PoolHealth.HEALTHY, message="", now=now)
            case BackOffUntil():
                pass  # it only withholds creations, which the plan has done

    def _ids(self) -> NewIds:
        return NewIds(
            workspace_id=self._new_id(),
            build_id=self._new_id(),
            job_id=self._new_id(),
            claim_id=self._new_id(),
        )

    def _say(self, result: PassResult) -> None:
        if result.plan is None or not (result.created or result.deleted or result.cancelled):
            return
        LOG.info(
            "pools were reconciled",
            presets_total=result.plan.presets_total,
            presets_reconciled=result.plan.presets_reconciled,
            created=result.created,
            deleted=result.deleted,
            cancelled=result.cancelled,
            failed=result.failed,
            elapsed_seconds=round(result.elapsed_seconds, 4),
        )
