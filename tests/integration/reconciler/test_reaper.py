"""Who is hung, and who only could not be heard."""

from __future__ import annotations

import random

import pytest

from reconciler.core.jobs import AcquiredJob, JobStatus
from reconciler.loops.reaper import HEARING_SECONDS, Reaper, ReaperSettings
from testkit.pool_world import PoolWorld, RecordedHints

pytestmark = pytest.mark.integration
AWAY_SECONDS = 600.0


def make_reaper(world: PoolWorld) -> Reaper:
    return Reaper(
        world.database,
        world.queue,
        world.ends,
        RecordedHints(),
        world.clock,
        random.Random(1),
        ReaperSettings(),
    )


async def look_for(world: PoolWorld, reaper: Reaper, seconds: float) -> int:
    """Looks every five seconds for so long; how many jobs were settled."""
    settled = 0
    for _ in range(int(seconds // 5)):
        world.clock.advance(5)
        settled += await reaper.run_once()
    return settled


async def status_of(world: PoolWorld, job: AcquiredJob) -> JobStatus:
    (row,) = await world.fetch("SELECT status FROM jobs WHERE id = $1", job.id)
    return JobStatus(row["status"])


@pytest.mark.parametrize("was_running", [True, False])
async def test_a_worker_that_could_not_be_heard_keeps_its_job(
    world: PoolWorld, was_running: bool
) -> None:
    """The control plane was down, or the database was: both look the same to the worker."""
    await world.create_prebuild()
    job = await world.acquire()
    await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    reaper = make_reaper(world)
    if was_running:
        await look_for(world, reaper, 60)
    world.clock.advance(AWAY_SECONDS)

    first = await reaper.run_once()
    world.clock.advance(10)
    await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    later = await look_for(world, reaper, 120)

    assert (first, later) == (0, 0)
    assert await status_of(world, job) is JobStatus.RUNNING


async def test_a_worker_that_says_nothing_when_it_can_loses_its_job(world: PoolWorld) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    reaper = make_reaper(world)
    world.clock.advance(AWAY_SECONDS)
    await reaper.run_once()

    before = await look_for(world, reaper, HEARING_SECONDS - 5)
    after = await look_for(world, reaper, 5)

    assert (before, after) == (0, 1)
    assert await status_of(world, job) is JobStatus.FAILED
