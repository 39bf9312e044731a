"""Figures about pools, claims and jobs for Prometheus.

The names that dashboards for this feature already use begin with `coderd_`, our own with
`warmpool_`. Figures are read in the background and kept as one picture; a scrape only copies it, so
scraping costs the database nothing. Counters are counted by the database, so they survive a
restart; with several replicas take the maximum over them. The steps of claims are measured by one
replica each, so there take the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from reconciler.core.pools import (
    CLAIM_STEPS,
    ClaimStep,
    PoolFigures,
    PoolHealth,
    PoolSettings,
    read_figures,
)
from reconciler.loops.pool import PassResult
from reconciler.store.metrics import JobTotals, Measures
from reconciler.store.pools import Pools, PoolTotals
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["MetricsLoop", "PoolMetrics"]

LOG = get_logger(__name__)
REFRESH_SECONDS: Final = 15.0
PASS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STEP_BUCKETS: Final = (*PASS_BUCKETS, 120, 300, 600, 1800)

_Observe: TypeAlias = "Callable[[Picture], Iterable[Observation]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What was read last. A scrape sees all of one picture."""

    taken_at: datetime | None = None
    paused: bool = False
    pools: tuple[PoolFigures, ...] = ()
    totals: tuple[PoolTotals, ...] = ()
    misses: dict[str, int] = field(default_factory=dict[str, int])
    jobs: JobTotals | None = None


class PoolMetrics:
    """The instruments. Told of passes, and of pictures by `MetricsLoop`."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._meter = meter
        self.picture = Picture()
        self._last_pass: PassResult | None = None
        self._pass_seconds = meter.create_histogram(
            "coderd_prebuilds_reconciliation_duration_seconds",
            description="How long a pass over all pools took.",
            explicit_bucket_boundaries_advisory=PASS_BUCKETS,
        )
        self._step_seconds = meter.create_histogram(
            "warmpool_claim_step_seconds",
            description="How long a claim took to reach a step from the one before.",
            explicit_bucket_boundaries_advisory=STEP_BUCKETS,
        )
        self._claim_seconds = meter.create_histogram(
            "warmpool_claim_seconds",
            description="How long a claim took from the request until every agent had applied it.",
            explicit_bucket_boundaries_advisory=STEP_BUCKETS,
        )
        self._observe_pools()
        self._observe_totals()
        self._observe_installation()

    def passed(self, result: PassResult) -> None:
        """A pass of this replica has ended."""
        self._last_pass = result
        self._pass_seconds.record(result.elapsed_seconds)

    def stepped(self, step: ClaimStep) -> None:
        """A claim has taken a step."""
        self._step_seconds.record(step.seconds, {"step": step.step})
        if step.step == CLAIM_STEPS[-1]:
            self._claim_seconds.record(step.since_requested_seconds)

    def _observe_pools(self) -> None:
        each: dict[str, tuple[str, Callable[[PoolFigures], int]]] = {
            "desired": ("How many prebuilds there should be.", lambda p: p.desired),
            "running": ("How many prebuilds run.", lambda p: p.running),
            "eligible": ("How many prebuilds can be claimed now.", lambda p: p.eligible),
            "preset_hard_limited": (
                "1 if the pool stopped after repeated failures.",
                lambda p: int(p.health is PoolHealth.HARD_LIMITED),
            ),
            "preset_validation_failed": (
                "1 if the pool stopped because no retry can mend its template.",
                lambda p: int(p.health is PoolHealth.VALIDATION_FAILED),
            ),
        }
        for name, (description, read) in each.items():
            self._gauge(f"coderd_prebuilt_workspaces_{name}", description, _per_pool(read))

    def _observe_totals(self) -> None:
        each: dict[str, tuple[str, Callable[[PoolTotals], int]]] = {
            "created": ("How many prebuilds were made.", lambda t: t.created),
            "failed": ("How many prebuilds failed to build.", lambda t: t.failed),
            "claimed": ("How many prebuilds were claimed.", lambda t: t.claimed),
            "resource_replacements": (
                "How many claims replaced a resource.",
                lambda t: t.resource_replacements,
            ),
        }
        for name, (description, read) in each.items():
            self._counter(f"coderd_prebuilt_workspaces_{name}", description, _per_total(read))
        self._counter(
            "warmpool_pool_misses",
            "How many requests no pool served, by reason.",
            lambda p: [Observation(n, {"reason": reason}) for reason, n in p.misses.items()],
        )

    def _observe_installation(self) -> None:
        self._gauge(
            "coderd_prebuilt_workspaces_metrics_last_updated",
            "When these figures were read, in seconds since 1970.",
            lambda p: [Observation(p.taken_at.timestamp())] if p.taken_at else [],
        )
        self._gauge(
            "coderd_prebuilt_workspaces_reconciliation_paused",
            "1 if all pools are paused.",
            lambda p: [Observation(int(p.paused))] if p.taken_at else [],
        )
        self._gauge(
            "warmpool_jobs_pending",
            "Jobs that wait for a worker.",
            lambda p: [Observation(p.jobs.pending)] if p.jobs else [],
        )
        self._gauge(
            "warmpool_jobs_running",
            "Jobs in a worker's hands.",
            lambda p: [Observation(p.jobs.running)] if p.jobs else [],
        )
        self._gauge(
            "warmpool_pool_presets",
            "Presets the last pass of this replica knew of; 0 while everything is paused.",
            lambda _: [Observation(r.presets_total)] if (r := self._last_pass) else [],
        )
        self._gauge(
            "warmpool_pool_presets_reconciled",
            "Presets the last pass of this replica looked at more closely.",
            lambda _: [Observation(r.presets_reconciled)] if (r := self._last_pass) else [],
        )

    def _gauge(self, name: str, description: str, observe: _Observe) -> None:
        self._meter.create_observable_gauge(
            name, callbacks=[self._callback(observe)], description=description
        )

    def _counter(self, name: str, description: str, observe: _Observe) -> None:
        """The exporter appends `_total`."""
        self._meter.create_observable_counter(
            name, callbacks=[self._callback(observe)], description=description
        )

    def _callback(self, observe: _Observe) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: observe(self.picture)


class MetricsLoop:
    """Reads the figures, again and again."""

    def __init__(
        self,
        pools: Pools,
        measures: Measures,
        instruments: PoolMetrics,
        clock: Clock,
        entropy: Entropy,
        settings: PoolSettings,
    ) -> None:
        self._pools = pools
        self._measures = measures
        self._instruments = instruments
        self._clock = clock
        self._entropy = entropy
        self._settings = settings

    async def run(self) -> None:
        """Reads, forever."""
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                LOG.warning("figures could not be read", error=error)
            await self._clock.sleep(REFRESH_SECONDS * (0.9 + 0.2 * self._entropy.random()))

    async def run_once(self) -> None:
        """Reads one picture."""
        now = self._clock.now()
        snapshot = await self._pools.load_for_pass(now, deletions_max=0)
        for step in await self._measures.take_claim_steps(now):
            self._instruments.stepped(step)
        self._instruments.picture = Picture(
            taken_at=now,
            paused=snapshot.paused,
            pools=read_figures(snapshot, self._settings),
            totals=await self._pools.totals(),
            misses=await self._measures.count_pool_misses(),
            jobs=await self._measures.count_jobs(),
        )


def _per_pool(read: Callable[[PoolFigures], int]) -> _Observe:
    return lambda picture: [
        Observation(
            read(pool),
            {
                "template_name": pool.template_name,
                "preset_name": pool.preset_name,
                "organization_name": pool.organization_name,
            },
        )
        for pool in picture.pools
    ]


def _per_total(read: Callable[[PoolTotals], int]) -> _Observe:
    return lambda picture: [
        Observation(
            read(totals),
            {
                "template_name": totals.template_name,
                "preset_name": totals.preset_name,
                "organization_name": totals.organization_name,
            },
        )
        for totals in picture.totals
    ]
