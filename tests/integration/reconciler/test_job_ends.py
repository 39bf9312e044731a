"""Jobs whose end races with a word of their worker, or with being handed back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.core.claims import Verdict
from reconciler.core.jobs import ACQUISITIONS_MAX, JobStatus
from reconciler.store.jobs import SilentJob
from testkit.pool_world import PoolWorld, token_hash

pytestmark = pytest.mark.integration


async def _silent(world: PoolWorld) -> tuple[SilentJob, ...]:
    return await world.queue.list_silent(
        world.clock.now(),
        unconfirmed=timedelta(seconds=15),
        hung=timedelta(seconds=300),
        stale=timedelta(seconds=1800),
        limit=100,
    )


@pytest.mark.parametrize("had_spoken", [True, False])
async def test_a_heartbeat_that_comes_after_the_look_keeps_the_job(
    world: PoolWorld, had_spoken: bool
) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    if had_spoken:
        await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    world.clock.advance(301)
    (silent,) = await _silent(world)
    await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    assert await world.ends.settle_silent(silent, world.clock.now()) is None
    assert await world.complete(job) is not None


async def test_a_job_that_no_worker_ever_confirms_fails_in_the_end(world: PoolWorld) -> None:
    await world.create_prebuild()
    statuses: list[JobStatus] = []
    for _ in range(ACQUISITIONS_MAX):
        await world.acquire()
        world.clock.advance(16)
        (silent,) = await _silent(world)
        aftermath = await world.ends.settle_silent(silent, world.clock.now())
        assert aftermath is not None
        statuses.append(aftermath.status)
    assert statuses == [JobStatus.PENDING] * (ACQUISITIONS_MAX - 1) + [JobStatus.FAILED]


async def test_a_job_that_ends_every_worker_that_takes_it_fails_in_the_end(
    world: PoolWorld,
) -> None:
    await world.create_prebuild()
    statuses: list[JobStatus] = []
    for _ in range(ACQUISITIONS_MAX):
        job = await world.acquire()
        await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
        aftermath = await world.ends.release(job.id, job.attempt, None, world.clock.now())
        assert aftermath is not None
        statuses.append(aftermath.status)
    assert statuses == [JobStatus.PENDING] * (ACQUISITIONS_MAX - 1) + [JobStatus.FAILED]
    assert await world.queue.acquire(world.worker, world.clock.now()) is None
    # THEN it counts against its pool
    (history,) = (await world.pools.load_snapshot(world.clock.now())).histories
    assert (history.recent_failure_count, history.consecutive_failure_count) == (1, 1)


@pytest.mark.parametrize(("acquired", "counted"), [(1, 0), (2, 0), (3, 1)])
async def test_a_lost_worker_counts_against_a_pool_only_if_the_job_lost_several(
    world: PoolWorld, acquired: int, counted: int
) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    for _ in range(acquired - 1):
        await world.ends.release(job.id, job.attempt, None, world.clock.now())
        job = await world.acquire()
    await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    world.clock.advance(301)
    (silent,) = await _silent(world)
    aftermath = await world.ends.settle_silent(silent, world.clock.now())
    assert aftermath is not None
    assert aftermath.status is JobStatus.FAILED
    assert len((await world.pools.load_snapshot(world.clock.now())).histories) == counted


async def test_a_cancelled_claim_that_is_handed_back_ends_everywhere_and_says_why(
    world: PoolWorld,
) -> None:
    workspace_id = await world.ready_prebuild()
    await world.claim()
    job = await world.acquire()
    await world.ends.cancel(job.id, world.clock.now())
    aftermath = await world.ends.release(job.id, job.attempt, None, world.clock.now())
    assert aftermath is not None
    assert aftermath.status is JobStatus.CANCELED
    (check,) = await world.agents.check([token_hash(workspace_id)])
    assert (check.verdict, check.error) == (
        Verdict.CLAIM_BUILD_FAILED,
        "canceled on request",
    )
    now = world.clock.now()
    assert await world.fetch(
        "SELECT w.latest_job_status, w.latest_build_finished_at, b.finished_at, j.status,"
        " j.finished_at AS ended_at FROM workspaces w JOIN workspace_builds b"
        " ON b.id = w.latest_build_id JOIN jobs j ON j.id = b.job_id"
    ) == [
        {
            "latest_job_status": "canceled",
            "latest_build_finished_at": now,
            "finished_at": now,
            "status": "canceled",
            "ended_at": now,
        }
    ]
