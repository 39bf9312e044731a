"""Metrics as Prometheus sees them: names, types, labels and values of a real scrape."""

from __future__ import annotations

import asyncio
import random
import re
import urllib.request
from asyncio import to_thread
from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reconciler.core.builds import BuiltWorkspace
from reconciler.core.pools import PoolSettings
from reconciler.loops.metrics import REFRESH_SECONDS, MetricsLoop, PoolMetrics
from reconciler.loops.pool import PoolLoop
from reconciler.store.metrics import Measures
from svckit.nudge import Nudge
from svckit.telemetry import Telemetry, setup_telemetry
from testkit.eventually import eventually
from testkit.pool_world import PoolWorld, RecordedHints, new_ids

pytestmark = pytest.mark.integration

POOL = '{organization_name="default",preset_name="standard",template_name="dev"}'
PRESET_SECONDS = "coderd_prebuilds_reconciliation_duration_seconds"
CLAIM_SECONDS = "warmpool_claim_seconds"
STEP_SECONDS = "warmpool_claim_step_seconds"


@pytest.fixture
async def telemetry(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Telemetry]:
    # The instruments of a reconciler another test ran in this process wait for the first global
    # provider, and would answer with these names, too.
    monkeypatch.setattr("svckit.telemetry.metrics.set_meter_provider", _keep_local)
    opened = setup_telemetry("test", "127.0.0.1:0")
    yield opened
    await to_thread(opened.close)


def _keep_local(provider: object) -> None:
    """In place of making a provider the process's."""


@pytest.fixture
def instruments(telemetry: Telemetry) -> PoolMetrics:
    return PoolMetrics(telemetry.meter_provider.get_meter("reconciler"))


def a_metrics_loop(world: PoolWorld, instruments: PoolMetrics) -> MetricsLoop:
    return MetricsLoop(
        world.pools,
        Measures(world.database),
        instruments,
        world.clock,
        random.Random(7),
        PoolSettings(),
    )


def a_pool_loop(world: PoolWorld, instruments: PoolMetrics) -> PoolLoop:
    return PoolLoop(
        world.database,
        world.pools,
        RecordedHints(),
        Nudge(),
        world.clock,
        random.Random(7),
        uuid4,
        settings=PoolSettings(),
        concurrency=2,
        tick_seconds=15,
        observer=instruments,
    )


async def scrape(telemetry: Telemetry) -> dict[str, float]:
    """Each sample by its name and labels."""
    address = f"http://127.0.0.1:{telemetry.metrics_port}/metrics"
    with await to_thread(urllib.request.urlopen, address) as response:
        text = response.read().decode()
    return {
        name: float(value)
        for name, value in re.findall(r"^([a-z]\w*(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    }


def of(samples: dict[str, float], prefix: str) -> dict[str, float]:
    return {
        name: value
        for name, value in samples.items()
        if name.startswith(prefix) and "_bucket" not in name
    }


async def test_the_names_dashboards_use_are_exposed_as_they_are(
    world: PoolWorld, telemetry: Telemetry, instruments: PoolMetrics
) -> None:
    await world.ready_prebuild()
    broken = await world.create_prebuild()
    await world.fail(await world.acquire())
    await a_pool_loop(world, instruments).run_once()
    await a_metrics_loop(world, instruments).run_once()
    samples = of(await scrape(telemetry), "coderd_")
    assert samples.pop(f"{PRESET_SECONDS}_sum") >= 0
    assert samples == {
        f"coderd_prebuilt_workspaces_created_total{POOL}": 2,
        f"coderd_prebuilt_workspaces_failed_total{POOL}": 1,
        f"coderd_prebuilt_workspaces_claimed_total{POOL}": 0,
        f"coderd_prebuilt_workspaces_resource_replacements_total{POOL}": 0,
        f"coderd_prebuilt_workspaces_desired{POOL}": 2,
        f"coderd_prebuilt_workspaces_running{POOL}": 1,
        f"coderd_prebuilt_workspaces_eligible{POOL}": 1,
        f"coderd_prebuilt_workspaces_preset_hard_limited{POOL}": 0,
        f"coderd_prebuilt_workspaces_preset_validation_failed{POOL}": 0,
        "coderd_prebuilt_workspaces_metrics_last_updated": world.clock.now().timestamp(),
        "coderd_prebuilt_workspaces_reconciliation_paused": 0,
        f"{PRESET_SECONDS}_count": 1,
    }
    assert broken


async def test_a_pool_at_rest_has_its_figures_too(
    world: PoolWorld, telemetry: Telemetry, instruments: PoolMetrics
) -> None:
    for _ in range(2):
        await world.ready_prebuild()
    await world.pools.set_paused(True, world.clock.now())
    await a_metrics_loop(world, instruments).run_once()
    samples = await scrape(telemetry)
    figures = [
        samples[f"coderd_prebuilt_workspaces_{name}{POOL}"]
        for name in ("desired", "running", "eligible", "created_total")
    ]
    assert figures == [2, 2, 2, 2]
    assert samples["coderd_prebuilt_workspaces_reconciliation_paused"] == 1


async def test_figures_are_read_in_the_background_and_a_scrape_only_copies_them(
    world: PoolWorld, telemetry: Telemetry, instruments: PoolMetrics
) -> None:
    loop = a_metrics_loop(world, instruments)
    updated: list[float] = []
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        for _ in range(2):
            await eventually(lambda: _assert_sleeping(world))
            await world.execute("ALTER TABLE presets RENAME TO gone")
            samples = await scrape(telemetry)
            await world.execute("ALTER TABLE gone RENAME TO presets")
            assert samples[f"coderd_prebuilt_workspaces_desired{POOL}"] == 2
            updated.append(samples["coderd_prebuilt_workspaces_metrics_last_updated"])
            world.clock.advance(1.2 * REFRESH_SECONDS)
            await asyncio.sleep(0)
        running.cancel()
    assert updated[1] - updated[0] == pytest.approx(1.2 * REFRESH_SECONDS)


def _assert_sleeping(world: PoolWorld) -> None:
    assert world.clock.sleeping == 1


@pytest.mark.parametrize("health", ["hard_limited", "validation_failed"])
async def test_a_stopped_pool_is_shown_by_why_it_stopped(
    world: PoolWorld, telemetry: Telemetry, instruments: PoolMetrics, health: str
) -> None:
    await world.execute("UPDATE presets SET health = $1", health)
    await a_metrics_loop(world, instruments).run_once()
    samples = of(await scrape(telemetry), "coderd_prebuilt_workspaces_preset_")
    assert samples == {
        f"coderd_prebuilt_workspaces_preset_hard_limited{POOL}": health == "hard_limited",
        f"coderd_prebuilt_workspaces_preset_validation_failed{POOL}": health == "validation_failed",
    }


async def test_the_steps_of_a_claim_are_measured_once_by_one_replica(
    world: PoolWorld, telemetry: Telemetry, instruments: PoolMetrics
) -> None:
    replicas = [a_metrics_loop(world, instruments) for _ in range(2)]
    for replica in replicas:
        await replica.run_once()
    await world.ready_prebuild()
    assert await world.claim() is not None
    world.clock.advance(3)
    job = await world.acquire()
    await world.ends.complete_build(
        job.id,
        job.attempt,
        None,
        BuiltWorkspace(agents=(), replacements=(("disk.home", ("size",)),)),
        (),
        world.clock.now(),
    )
    world.clock.advance(4)
    async with world.database.read() as connection:  # an agent said so
        await connection.execute(
            "UPDATE claims SET delivered_at = $1, applied_at = $1", world.clock.now()
        )
    for _ in range(3):
        world.clock.advance(5)
        for replica in replicas:
            await replica.run_once()
    samples = await scrape(telemetry)
    assert of(samples, CLAIM_SECONDS) == {CLAIM_SECONDS + "_count": 1, CLAIM_SECONDS + "_sum": 7}
    assert of(samples, STEP_SECONDS) == {
        STEP_SECONDS + '_count{step="claimed"}': 1,
        STEP_SECONDS + '_sum{step="claimed"}': 0,
        STEP_SECONDS + '_count{step="built"}': 1,
        STEP_SECONDS + '_sum{step="built"}': 3,
        STEP_SECONDS + '_count{step="delivered"}': 1,
        STEP_SECONDS + '_sum{step="delivered"}': 4,
        STEP_SECONDS + '_count{step="applied"}': 1,
        STEP_SECONDS + '_sum{step="applied"}': 0,
    }
    assert samples[f"coderd_prebuilt_workspaces_claimed_total{POOL}"] == 1
    assert samples[f"coderd_prebuilt_workspaces_resource_replacements_total{POOL}"] == 1


async def test_misses_and_jobs_are_counted(
    world: PoolWorld, telemetry: Telemetry, instruments: PoolMetrics
) -> None:
    for _ in range(2):
        await world.maker.create(world.wanted(), new_ids(), "empty", world.clock.now())
    await world.maker.create(world.wanted(), new_ids(), "starting", world.clock.now())
    await world.acquire()
    await a_metrics_loop(world, instruments).run_once()
    result = await a_pool_loop(world, instruments).run_once()
    samples = of(await scrape(telemetry), "warmpool_")
    assert samples == {
        'warmpool_pool_misses_total{reason="empty"}': 2,
        'warmpool_pool_misses_total{reason="starting"}': 1,
        "warmpool_jobs_pending": 2,
        "warmpool_jobs_running": 1,
        "warmpool_pool_presets": 1,
        "warmpool_pool_presets_reconciled": 1,
    }
    assert (result.presets_total, result.presets_reconciled) == (1, 1)


async def test_a_pass_is_a_trace_that_says_what_it_did(
    world: PoolWorld, telemetry: Telemetry, instruments: PoolMetrics
) -> None:
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    await a_pool_loop(world, instruments).run_once()
    *parts, whole = exporter.get_finished_spans()
    assert whole.name == "pool.pass"
    assert whole.attributes == {
        "pool.is_leader": True,
        "pool.presets_total": 1,
        "pool.presets_reconciled": 1,
        "pool.created": 2,
        "pool.deleted": 0,
        "pool.cancelled": 0,
        "pool.failed": 0,
    }
    assert [(part.name, dict(part.attributes or {})) for part in parts] == [
        ("pool.snapshot", {}),
        ("pool.plan", {}),
        (
            "pool.action",
            {"pool.action": "CreatePrebuild", "pool.preset_id": str(world.preset_id)},
        ),
    ]
    assert whole.context is not None
    assert {part.parent.span_id for part in parts if part.parent} == {whole.context.span_id}
    (traceparent,) = await world.fetch("SELECT DISTINCT traceparent FROM jobs WHERE is_system")
    assert f"-{whole.context.trace_id:032x}-" in str(traceparent["traceparent"])
