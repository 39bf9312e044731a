"""Carries a plan's actions out: every change in its own short transaction, a few at once.

Promises: at most `slots` tasks and as many connections, and none if nothing is to be done; marks,
cancellations and deletions come before creations; an action that fails is logged and blocks no
other; members beyond the plan are never made, whoever else is at it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from opentelemetry import trace

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
    PoolSnapshot,
    describe_hard_limit,
)
from reconciler.store.claims import NewIds
from reconciler.store.pools import CreationFence, Pools
from svckit.log import get_logger
from svckit.system import Clock
from svckit.telemetry import current_traceparent

__all__ = ["PoolApplier", "Tally"]

LOG = get_logger(__name__)
TRACER = trace.get_tracer("reconciler")


@dataclass(slots=True)
class Tally:
    """What came of a plan, counted in workspaces; `failed` counts actions."""

    created: int = 0
    deleted: int = 0
    cancelled: int = 0
    failed: int = 0


class PoolApplier:
    """Carries actions out."""

    def __init__(
        self, pools: Pools, hints: Hints, clock: Clock, new_id: Callable[[], UUID], *, slots: int
    ) -> None:
        self._pools = pools
        self._hints = hints
        self._clock = clock
        self._new_id = new_id
        self._slots = slots

    async def apply(self, actions: Sequence[Action], snapshot: PoolSnapshot) -> Tally:
        """Carries out a plan of that snapshot."""
        run = _Run(self._pools, self._hints, self._clock, self._new_id, snapshot)
        due = [action for action in actions if not isinstance(action, BackOffUntil)]
        creations: list[Action] = [action for action in due if isinstance(action, CreatePrebuild)]
        others: list[Action] = [action for action in due if not isinstance(action, CreatePrebuild)]
        for batch in (others, creations):
            if batch:
                queue = deque(batch)
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(min(self._slots, len(queue))):
                        tasks.create_task(run.work(queue))
        return run.tally


class _Run:
    """One plan's actions, carried out by a few workers."""

    def __init__(
        self,
        pools: Pools,
        hints: Hints,
        clock: Clock,
        new_id: Callable[[], UUID],
        snapshot: PoolSnapshot,
    ) -> None:
        self._pools = pools
        self._hints = hints
        self._clock = clock
        self._new_id = new_id
        self._members_made = {each.preset_id: each.members_made for each in snapshot.presets}
        self.tally = Tally()

    async def work(self, queue: deque[Action]) -> None:
        while queue:
            action = queue.popleft()
            with TRACER.start_as_current_span("pool.action", attributes=_describe(action)) as span:
                try:
                    await self._carry_out(action)
                except Exception as error:
                    # One preset's odd rows must not end the loop that keeps all the others.
                    span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                    self._note_failure(action, error)

    def _note_failure(self, action: Action, error: Exception) -> None:
        self.tally.failed += 1
        LOG.warning(
            "a pool action failed",
            action=type(action).__name__,
            preset_id=str(action.preset_id),
            error=error,
        )

    async def _carry_out(self, action: Action) -> None:
        match action:
            case CreatePrebuild():
                await self._create(action)
            case DeletePrebuild():
                await self._delete(action)
            case CancelPendingCreations(workspace_ids=workspace_ids):
                self.tally.cancelled += await self._pools.cancel_creations(
                    workspace_ids, self._clock.now()
                )
            case MarkHardLimited():
                await self._mark_hard_limited(action)
            case MarkHealthy(preset_id=preset_id):
                if await self._pools.mark_health(
                    preset_id, PoolHealth.HEALTHY, message="", now=self._clock.now()
                ):
                    LOG.info("a pool works again", preset_id=str(preset_id))
            case BackOffUntil():
                pass  # it only withholds creations, which the plan has done

    async def _create(self, action: CreatePrebuild) -> None:
        fence = CreationFence(
            members_made=self._members_made[action.preset_id], newcomers_max=action.count
        )
        for _ in range(action.count):
            ids = self._ids()
            queued = await self._pools.create_prebuild(
                action.preset_id,
                ids,
                prebuild_name(ids.workspace_id),
                self._clock.now(),
                fence=fence,
                traceparent=current_traceparent(),
            )
            if queued is None:
                return  # the pool has enough, or is no more: the next pass sees which
            self.tally.created += 1
            self._hints.job_posted(queued.organization_id, queued.job_id, queued.provisioner_type)

    async def _delete(self, action: DeletePrebuild) -> None:
        queued = await self._pools.delete_prebuild(
            action.workspace_id, action.reason.value, self._ids(), self._clock.now()
        )
        if queued is not None:
            self.tally.deleted += 1
            self._hints.workspace_changed(action.workspace_id)
            self._hints.job_posted(queued.organization_id, queued.job_id, queued.provisioner_type)

    async def _mark_hard_limited(self, action: MarkHardLimited) -> None:
        if await self._pools.mark_health(
            action.preset_id,
            PoolHealth.HARD_LIMITED,
            message=describe_hard_limit(action.failure_count, is_by_losses=action.is_by_losses),
            now=self._clock.now(),
        ):
            LOG.error(
                "a pool reached its hard limit",
                preset_id=str(action.preset_id),
                count=action.failure_count,
                reason="losses" if action.is_by_losses else "failures",
            )

    def _ids(self) -> NewIds:
        return NewIds(
            workspace_id=self._new_id(),
            build_id=self._new_id(),
            job_id=self._new_id(),
            claim_id=self._new_id(),
        )


def _describe(action: Action) -> dict[str, str]:
    """What a trace says of an action; members whose preset is gone have none."""
    name = {"pool.action": type(action).__name__}
    return name if action.preset_id is None else {**name, "pool.preset_id": str(action.preset_id)}
