"""The pool loop on a real database, and its races with people."""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

import pytest

from reconciler.core.pools import PoolSettings
from reconciler.loops.leadership import POOL_LOCK
from reconciler.loops.pool import PassResult, PoolLoop
from svckit.nudge import Nudge
from testkit.pool_world import PoolWorld, RecordedHints, new_ids

pytestmark = pytest.mark.integration


def a_loop(world: PoolWorld, *, settings: PoolSettings | None = None) -> PoolLoop:
    return PoolLoop(
        world.database,
        world.pools,
        RecordedHints(),
        Nudge(),
        world.clock,
        random.Random(7),
        uuid4,
        settings=settings or PoolSettings(),
        concurrency=2,
        tick_seconds=15,
    )


def counts(result: PassResult) -> tuple[int, int, int, int]:
    return result.created, result.deleted, result.cancelled, result.failed


async def test_a_pool_fills_and_then_rests(world: PoolWorld) -> None:
    loop = a_loop(world)
    passes = [counts(await loop.run_once()) for _ in range(2)]
    assert passes == [(2, 0, 0, 0), (0, 0, 0, 0)]


async def test_a_claim_is_refilled_by_the_next_pass(world: PoolWorld) -> None:
    loop = a_loop(world)
    await loop.run_once()
    for _ in range(2):
        job = await world.acquire()
        await world.complete(job)
        assert job.workspace_id is not None
        await world.make_ready(job.workspace_id)
    assert await world.claim() is not None
    assert counts(await loop.run_once()) == (1, 0, 0, 0)


async def test_expired_members_go_and_come_in_one_pass(world: PoolWorld) -> None:
    await world.ready_prebuild()
    await world.ready_prebuild()
    await world.execute("UPDATE presets SET ttl_seconds = 3600")
    world.clock.advance(3601)
    assert counts(await a_loop(world).run_once()) == (2, 2, 0, 0)


async def test_a_promotion_cancels_what_waits_and_replaces_what_runs(world: PoolWorld) -> None:
    running = await world.ready_prebuild()
    waiting = await world.create_prebuild()
    version, preset = uuid4(), uuid4()
    async with world.database.read() as connection:
        await world.add_version(version, "v2", connection)
        await world.add_preset(preset, "standard", 2, connection, version_id=version)
        await world.promote(version, connection)
    assert counts(await a_loop(world).run_once()) == (2, 1, 1, 0)
    rows = await world.fetch(
        "SELECT id, deleted_at IS NULL AS lives, latest_transition FROM workspaces"
    )
    by_id = {row["id"]: (row["lives"], row["latest_transition"]) for row in rows}
    assert (by_id[running], by_id[waiting]) == ((True, "delete"), (False, "start"))


async def test_a_workspace_claimed_after_the_snapshot_is_left_alone(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    snapshot = await world.pools.load_snapshot(world.clock.now())
    assert [member.workspace_id for member in snapshot.members] == [workspace_id]
    await world.claim()
    queued = await world.pools.delete_prebuild(
        workspace_id, "extraneous", new_ids(), world.clock.now()
    )
    assert queued is None
    assert await world.pools.cancel_creations([workspace_id], world.clock.now()) == 0
    assert await world.owner_of(workspace_id) == world.ada


async def test_a_workspace_whose_deletion_is_queued_is_not_claimed(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    queued = await world.pools.delete_prebuild(
        workspace_id, "extraneous", new_ids(), world.clock.now()
    )
    assert queued is not None
    assert await world.claim() is None


async def test_claim_and_delete_at_once_leave_one_winner(world: PoolWorld) -> None:
    for _ in range(10):
        workspace_id = await world.ready_prebuild()
        async with asyncio.TaskGroup() as tasks:
            claim = tasks.create_task(world.claim())
            delete = tasks.create_task(
                world.pools.delete_prebuild(
                    workspace_id, "extraneous", new_ids(), world.clock.now()
                )
            )
        winners = (claim.result() == workspace_id, delete.result() is not None)
        assert winners in ((True, False), (False, True))
        await world.complete(await world.acquire())


async def test_a_creation_picked_up_meanwhile_is_not_cancelled(world: PoolWorld) -> None:
    workspace_id = await world.create_prebuild()
    await world.acquire()
    assert await world.pools.cancel_creations([workspace_id], world.clock.now()) == 0


async def test_a_creation_that_was_handed_back_is_deleted_in_order(world: PoolWorld) -> None:
    workspace_id = await world.create_prebuild()
    job = await world.acquire()
    await world.tfstates.keep(job.id, job.attempt, None, b"half of it is there")
    await world.ends.release(job.id, job.attempt, None, world.clock.now())
    world.clock.advance(1)
    version, preset = uuid4(), uuid4()
    async with world.database.read() as connection:
        await world.add_version(version, "v2", connection)
        await world.add_preset(preset, "standard", 1, connection, version_id=version)
        await world.promote(version, connection)
    assert await world.pools.cancel_creations([workspace_id], world.clock.now()) == 0
    assert counts(await a_loop(world).run_once()) == (1, 0, 0, 0)
    await world.complete(await world.acquire())
    assert counts(await a_loop(world).run_once()) == (0, 1, 0, 0)
    deletion = await world.acquire()
    while deletion.workspace_id != workspace_id:
        deletion = await world.acquire()
    assert deletion.build is not None
    assert deletion.build.transition == "delete"
    assert await world.tfstates.read(deletion.id, deletion.attempt, None) == b"half of it is there"


async def test_repeated_failures_stop_the_pool_once_and_a_resume_probes(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    loop = a_loop(world, settings=PoolSettings(backoff_interval_seconds=60))
    for _ in range(3):
        world.clock.advance(3600)
        await loop.run_once()
        while (job := await world.queue.acquire(world.worker, world.clock.now())) is not None:
            is_creation = job.build is not None and job.build.stage == "create"
            await (world.fail(job) if is_creation else world.complete(job))
    world.clock.advance(3600)
    await loop.run_once()
    assert await world.fetch("SELECT health FROM presets") == [{"health": "hard_limited"}]
    assert await world.fetch("SELECT kind FROM notifications") == [{"kind": "pool.hard_limited"}]
    assert (await loop.run_once()).created == 0
    assert await world.pools.resume(world.preset_id, world.clock.now())
    assert (await loop.run_once()).created == 1
    assert (await loop.run_once()).created == 0


async def test_one_replica_at_a_time(world: PoolWorld) -> None:
    async with world.database.try_lock(POOL_LOCK) as held:
        assert held
        assert (await a_loop(world).run_once()).is_leader is False
    assert (await a_loop(world).run_once()).is_leader is True


async def test_no_pool_is_looked_at_while_everything_is_paused(world: PoolWorld) -> None:
    await world.pools.set_paused(True, world.clock.now())
    result = await a_loop(world).run_once()
    assert result.plan is not None
    assert (result.is_leader, result.plan.paused, result.presets_total) == (True, True, 0)
    await world.pools.set_paused(False, world.clock.now())
    assert (await a_loop(world).run_once()).presets_total == 1


async def test_a_paused_pool_creates_nothing_until_it_is_resumed(world: PoolWorld) -> None:
    await world.pools.set_paused(True, world.clock.now())
    assert (await a_loop(world).run_once()).created == 0
    await world.pools.set_paused(False, world.clock.now())
    await world.pools.set_preset_paused(
        world.template_id, "standard", True, world.ada, world.clock.now()
    )
    assert (await a_loop(world).run_once()).created == 0
    await world.pools.set_preset_paused(
        world.template_id, "standard", False, world.ada, world.clock.now()
    )
    assert (await a_loop(world).run_once()).created == 2
