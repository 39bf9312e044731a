"""A pass against everybody else, each stopped between its snapshot and what it does next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from reconciler.core.pools import PoolSettings, PoolSnapshot
from reconciler.loops.pool import PassResult, PoolLoop
from reconciler.store.pools import Pools
from svckit.errors import Unavailable
from svckit.nudge import Nudge
from testkit.pool_world import PoolWorld, RecordedHints

pytestmark = pytest.mark.integration


class GatedPools(Pools):
    """Pools whose passes wait between the snapshot and the plan, until the gate opens."""

    def __init__(self, world: PoolWorld) -> None:
        super().__init__(
            world.database, agent_timeout=timedelta(seconds=60), failure_lookback=timedelta(hours=1)
        )
        self.seen = asyncio.Event()
        self.gate = asyncio.Event()

    async def load_for_pass(
        self, now: datetime, *, deletions_max: int, reads_paused: bool = True
    ) -> PoolSnapshot:
        snapshot = await super().load_for_pass(
            now, deletions_max=deletions_max, reads_paused=reads_paused
        )
        self.seen.set()
        await self.gate.wait()
        return snapshot


def a_loop(world: PoolWorld, pools: Pools | None = None) -> PoolLoop:
    return PoolLoop(
        world.database,
        pools or world.pools,
        RecordedHints(),
        Nudge(),
        world.clock,
        random.Random(7),
        uuid4,
        settings=PoolSettings(),
        concurrency=2,
        tick_seconds=15,
    )


def counts(result: PassResult) -> tuple[int, int, int, int]:
    return result.created, result.deleted, result.cancelled, result.failed


@asynccontextmanager
async def a_pass_that_has_looked(world: PoolWorld) -> AsyncGenerator[asyncio.Task[PassResult]]:
    """The body runs between a pass' snapshot and what the pass does; after it the pass goes on."""
    pools = GatedPools(world)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(a_loop(world, pools).run_once())
        await pools.seen.wait()
        try:
            yield task
        finally:
            pools.gate.set()


async def living(world: PoolWorld) -> list[dict[str, object]]:
    return await world.fetch(
        "SELECT latest_transition, latest_job_status, count(*) FROM workspaces"
        " WHERE deleted_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )


@pytest.mark.parametrize("is_built", [False, True])
async def test_a_claim_comes_before_the_deletion_of_what_is_too_much(
    world: PoolWorld, is_built: bool
) -> None:
    oldest = await world.ready_prebuild()
    world.clock.advance(1)
    await world.ready_prebuild()
    await world.execute("UPDATE presets SET instances = 1")
    async with a_pass_that_has_looked(world) as passing:
        claimed = await world.claim()
        if is_built:
            await world.complete(await world.acquire())
    assert claimed == oldest
    assert await world.owner_of(oldest) == world.ada
    assert counts(passing.result()) == (0, 0, 0, 0)
    assert counts(await a_loop(world).run_once()) == (0, 0, 0, 0)


async def test_a_claim_comes_before_the_recycling_of_what_was_never_ready(
    world: PoolWorld,
) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    workspace_id = await world.create_prebuild()
    await world.complete(await world.acquire())
    world.clock.advance(1801)
    async with a_pass_that_has_looked(world) as passing:
        await world.make_ready(workspace_id)
        assert await world.claim() == workspace_id
        await world.complete(await world.acquire())
    assert counts(passing.result()) == (1, 0, 0, 0)
    assert await world.owner_of(workspace_id) == world.ada


async def test_a_claim_comes_before_the_replacement_of_what_seemed_lost(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    workspace_id = await world.ready_prebuild()
    for _ in range(21):
        world.clock.advance(30)
        await world.agents.record_liveness([], [], world.clock.now())
    async with a_pass_that_has_looked(world) as passing:
        await world.make_ready(workspace_id)
        assert await world.claim() == workspace_id
        await world.complete(await world.acquire())
    assert counts(passing.result()) == (1, 0, 0, 0)
    assert await world.owner_of(workspace_id) == world.ada


@pytest.mark.parametrize("was_ready", [False, True])
async def test_who_is_being_replaced_is_not_claimed_though_its_agent_comes(
    world: PoolWorld, was_ready: bool
) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    workspace_id = await world.create_prebuild()
    await world.complete(await world.acquire())
    if was_ready:
        await world.make_ready(workspace_id)
    for _ in range(61):
        world.clock.advance(30)
        await world.agents.record_liveness([], [], world.clock.now())
    assert counts(await a_loop(world).run_once()) == (1, 1, 0, 0)
    await world.make_ready(workspace_id)
    assert await world.claim() is None
    assert await world.is_in_pool(workspace_id)


async def test_a_claim_comes_before_the_cancellation_of_its_creation(world: PoolWorld) -> None:
    workspace_id = await world.create_prebuild()
    await world.execute("UPDATE presets SET instances = 0")
    async with a_pass_that_has_looked(world) as passing:
        await world.complete(await world.acquire())
        await world.make_ready(workspace_id)
        assert await world.claim() == workspace_id
    assert counts(passing.result()) == (0, 0, 0, 0)
    assert await world.owner_of(workspace_id) == world.ada
    job = await world.acquire()
    assert job.workspace_id == workspace_id


@pytest.mark.parametrize("is_resumed", [False, True])
async def test_a_refusal_by_validation_comes_before_a_mark(
    world: PoolWorld, is_resumed: bool
) -> None:
    await world.execute("UPDATE presets SET instances = 4")
    refused = await world.create_prebuild()
    job = await world.acquire()
    for _ in range(3):
        await world.create_prebuild()
        other = await world.acquire()
        await (world.complete(other) if is_resumed else world.fail(other))
    if is_resumed:
        await world.execute(
            "UPDATE presets SET health = 'hard_limited', resumed_at = $1",
            world.clock.now() - timedelta(seconds=1),
        )
    async with a_pass_that_has_looked(world):
        await world.ends.fail(
            job.id,
            job.attempt,
            None,
            error="no",
            reason="VALIDATION",
            is_retryable=False,
            lines=(),
            now=world.clock.now(),
        )
    assert job.workspace_id == refused
    (row,) = await world.fetch("SELECT health FROM presets")
    assert row["health"] == "validation_failed"
    kinds = await world.fetch("SELECT kind FROM notifications")
    assert kinds == [{"kind": "pool.validation_failed"}]


async def test_a_worker_comes_before_the_cancellation(world: PoolWorld) -> None:
    await world.create_prebuild()
    await world.create_prebuild()
    await world.execute("UPDATE presets SET instances = 0")
    async with a_pass_that_has_looked(world) as passing:
        job = await world.acquire()
    assert counts(passing.result()) == (0, 0, 1, 0)
    await world.complete(job)
    assert counts(await a_loop(world).run_once()) == (0, 1, 0, 0)


async def test_a_worker_and_a_cancellation_at_once_leave_one_winner(world: PoolWorld) -> None:
    for _ in range(10):
        workspace_id = await world.create_prebuild()
        async with asyncio.TaskGroup() as tasks:
            take = tasks.create_task(world.queue.acquire(world.worker, world.clock.now()))
            cancel = tasks.create_task(
                world.pools.cancel_creations([workspace_id], world.clock.now())
            )
        job = take.result()
        assert (job is not None, cancel.result()) in ((True, 0), (False, 1))
        if job is not None:
            await world.complete(job)
            await world.execute("UPDATE workspaces SET deleted_at = now()")


async def test_a_version_promoted_meanwhile_gets_the_members(world: PoolWorld) -> None:
    version, preset = uuid4(), uuid4()
    async with a_pass_that_has_looked(world) as passing, world.database.read() as connection:
        await world.add_version(version, "v2", connection)
        await world.add_preset(preset, "standard", 2, connection, version_id=version)
        await world.promote(version, connection)
    assert counts(passing.result()) == (0, 0, 0, 0)
    assert counts(await a_loop(world).run_once()) == (2, 0, 0, 0)
    assert await world.fetch("SELECT DISTINCT preset_id FROM workspaces") == [{"preset_id": preset}]


async def test_a_template_deleted_meanwhile_gets_no_member(world: PoolWorld) -> None:
    async with a_pass_that_has_looked(world) as passing:
        await world.execute("UPDATE templates SET deleted_at = now()")
    assert counts(passing.result()) == (0, 0, 0, 0)
    assert counts(await a_loop(world).run_once()) == (0, 0, 0, 0)
    assert await living(world) == []


async def test_a_pool_paused_meanwhile_gets_no_member(world: PoolWorld) -> None:
    async with a_pass_that_has_looked(world) as passing:
        await world.pools.set_preset_paused(
            world.template_id, "standard", True, world.ada, world.clock.now()
        )
    assert counts(passing.result()) == (0, 0, 0, 0)


async def test_a_lock_lost_in_the_middle_of_a_pass_makes_no_member_too_many(
    world: PoolWorld,
) -> None:
    pools = GatedPools(world)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        passing = tasks.create_task(_outcome(a_loop(world, pools)))
        await pools.seen.wait()
        assert (await a_loop(world).run_once()).is_leader is False
        terminated = await world.fetch(
            "SELECT pg_terminate_backend(pid) AS done FROM pg_locks"
            " WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert terminated == [{"done": True}]
        successor = await _lead(world)
        pools.gate.set()
    assert counts(successor) == (2, 0, 0, 0)
    assert isinstance(passing.result(), Unavailable)
    assert await living(world) == [
        {"latest_transition": "start", "latest_job_status": "pending", "count": 2}
    ]
    assert counts(await a_loop(world).run_once()) == (0, 0, 0, 0)


async def test_a_loop_outlives_the_loss_of_its_lock(world: PoolWorld) -> None:
    pools = GatedPools(world)
    results: asyncio.Queue[PassResult] = asyncio.Queue()
    nudge = Nudge()
    loop = PoolLoop(
        world.database,
        pools,
        RecordedHints(),
        nudge,
        world.clock,
        random.Random(7),
        uuid4,
        settings=PoolSettings(),
        concurrency=2,
        tick_seconds=0.01,
        observer=_Results(results),
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        await pools.seen.wait()
        await world.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        pools.gate.set()
        result = await results.get()
        running.cancel()
    assert counts(result) == (0, 0, 0, 0)
    assert await living(world) == [
        {"latest_transition": "start", "latest_job_status": "pending", "count": 2}
    ]


async def test_replicas_that_pass_at_once_make_what_one_would(world: PoolWorld) -> None:
    for desired in (3, 7, 9):
        await world.execute("UPDATE presets SET instances = $1", desired)
        async with asyncio.TaskGroup() as tasks:
            replicas = [tasks.create_task(a_loop(world).run_once()) for _ in range(2)]
        assert any(replica.result().is_leader for replica in replicas)
        assert await living(world) == [
            {"latest_transition": "start", "latest_job_status": "pending", "count": desired}
        ]


class _Results:
    def __init__(self, queue: asyncio.Queue[PassResult]) -> None:
        self._queue = queue

    def passed(self, result: PassResult) -> None:
        self._queue.put_nowait(result)


async def _outcome(loop: PoolLoop) -> PassResult | Unavailable:
    try:
        return await loop.run_once()
    except Unavailable as error:
        return error


async def _lead(world: PoolWorld) -> PassResult:
    """A pass of another replica, as soon as the server has noticed that the lock is free."""
    while True:
        result = await a_loop(world).run_once()
        if result.is_leader:
            return result
