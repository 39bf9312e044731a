"""The pool loop: one snapshot, one plan, every action in its own short transaction.

Promises: one replica at a time (a lock that dies with its connection, and every action re-reads
what it changes, so a lost lock costs nothing but doubled reading); a pass never has more than
`concurrency` connections, the lock's included if that is two or more; a pass that is cut short is
begun again by the next. A pass starts on a hint, on a tick with jitter, and at the moment a
schedule, a wait or an age says so. Hints that come in a burst are served by one pass, and however
many come, they start four passes a second at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from opentelemetry import trace

from reconciler.core.hints import Hints
from reconciler.core.pools import PoolPlan, PoolSettings, PoolSnapshot, plan, wait_seconds
from reconciler.loops.leadership import POOL_LOCK
from reconciler.loops.membership import join_organizations
from reconciler.loops.pool_actions import PoolApplier
from reconciler.store.db import Database
from reconciler.store.pools import Pools
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock, Entropy

__all__ = ["PassObserver", "PassResult", "PoolLoop"]

LOG = get_logger(__name__)
TRACER = trace.get_tracer("reconciler")
DEBOUNCE_SECONDS = 0.05
"""Hints come in bursts: a pass that waits this long serves them all."""
REST_SECONDS = 0.25
"""How long after a pass the next begins at the earliest because of a hint: a stream of claims costs
a few passes a second, whatever its rate, and who waits for a refill waits for its build.
"""
REST_PER_PASS = 4
"""How many times as long as a pass took it rests at least: passes have at most a fifth of the time,
and claims the rest.
"""
PLAN_IN_THREAD_FROM = 2_000
"""A plan of so many rows takes milliseconds: it is made beside the event loop."""


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

    @property
    def presets_total(self) -> int:
        """How many presets there are."""
        return 0 if self.plan is None else self.plan.presets_total

    @property
    def presets_reconciled(self) -> int:
        """How many of them were looked at more closely."""
        return 0 if self.plan is None else self.plan.presets_reconciled


class PassObserver(Protocol):
    """Told of every pass."""

    def passed(self, result: PassResult) -> None:
        """A pass of the leading replica has ended."""
        ...


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
        observer: PassObserver | None = None,
    ) -> None:
        self._database = database
        self._pools = pools
        self._nudge = nudge
        self._clock = clock
        self._entropy = entropy
        self._settings = settings
        self._concurrency = concurrency
        self._tick_seconds = tick_seconds
        self._observer = observer
        self._applier = PoolApplier(
            pools, hints, clock, new_id, slots=max(1, concurrency - 1)
        )  # the lock has one

    @property
    def concurrency(self) -> int:
        """How many connections a pass may use."""
        return self._concurrency

    async def run(self) -> None:
        """Passes, forever."""
        while True:
            result = PassResult(is_leader=False)
            try:
                result = await self.run_once()
                self._say(result)
            except Unavailable as error:
                LOG.warning("a pool pass was cut short", error=error)
            ended_at = self._clock.monotonic()
            if await self._nudge.wait(self._find_wait(result)):
                rested_seconds = self._clock.monotonic() - ended_at
                rest_seconds = max(REST_SECONDS, REST_PER_PASS * result.elapsed_seconds)
                await self._clock.sleep(max(DEBOUNCE_SECONDS, rest_seconds - rested_seconds))
                await self._nudge.wait(0)  # what came meanwhile is served by the same pass

    async def run_once(self) -> PassResult:
        """One pass; does nothing on a replica that does not lead."""
        started = self._clock.monotonic()
        with TRACER.start_as_current_span("pool.pass") as span:
            async with self._database.try_lock(POOL_LOCK) as is_leader:
                span.set_attribute("pool.is_leader", is_leader)
                if not is_leader:
                    return PassResult(is_leader=False)
                with TRACER.start_as_current_span("pool.snapshot"):
                    snapshot = await self._pools.load_for_pass(
                        self._clock.now(),
                        deletions_max=self._settings.jobs_in_flight_max,
                        reads_paused=False,  # claims go on, and each is a hint to look
                    )
                with TRACER.start_as_current_span("pool.plan"):
                    decided = await self._plan(snapshot)
                await join_organizations(self._pools, snapshot, self._clock.now())
                tally = await self._applier.apply(decided.actions, snapshot)
            result = PassResult(
                is_leader=True,
                plan=decided,
                created=tally.created,
                deleted=tally.deleted,
                cancelled=tally.cancelled,
                failed=tally.failed,
                elapsed_seconds=self._clock.monotonic() - started,
            )
            span.set_attributes(
                {
                    "pool.presets_total": result.presets_total,
                    "pool.presets_reconciled": result.presets_reconciled,
                    "pool.created": result.created,
                    "pool.deleted": result.deleted,
                    "pool.cancelled": result.cancelled,
                    "pool.failed": result.failed,
                }
            )
        if self._observer is not None:
            self._observer.passed(result)
        return result

    async def _plan(self, snapshot: PoolSnapshot) -> PoolPlan:
        rows = len(snapshot.presets) + len(snapshot.members) + len(snapshot.resting)
        if rows < PLAN_IN_THREAD_FROM:
            return plan(snapshot, self._settings)
        return await asyncio.to_thread(plan, snapshot, self._settings)

    def _find_wait(self, result: PassResult) -> float:
        tick = self._tick_seconds * (0.5 + self._entropy.random())
        look_again_at = None if result.plan is None else result.plan.look_again_at
        return wait_seconds(look_again_at, self._clock.now(), tick)

    def _say(self, result: PassResult) -> None:
        if not (result.created or result.deleted or result.cancelled or result.failed):
            return
        LOG.info(
            "pools were reconciled",
            presets_total=result.presets_total,
            presets_reconciled=result.presets_reconciled,
            created=result.created,
            deleted=result.deleted,
            cancelled=result.cancelled,
            failed=result.failed,
            elapsed_seconds=round(result.elapsed_seconds, 4),
        )
