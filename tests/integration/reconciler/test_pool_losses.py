"""Agents that die, again and again, through the real loop: one misfortune is made good at once, a
pool whose members all die waits, stops, and says so once.
"""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest

from reconciler.core.pools import Loss, PoolSettings
from reconciler.loops.pool import PassResult, PoolLoop
from svckit.nudge import Nudge
from testkit.pool_world import PoolWorld, RecordedHints, token_hash

pytestmark = pytest.mark.integration

LOST_SECONDS = 630  # ten minutes without a word, after the last one


def a_loop(world: PoolWorld) -> PoolLoop:
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
    )


async def run_once(world: PoolWorld) -> tuple[int, int]:
    result: PassResult = await a_loop(world).run_once()
    assert result.failed == 0
    return result.created, result.deleted


async def work_off(world: PoolWorld) -> list[UUID]:
    """The worker does everything well; who was made."""
    made: list[UUID] = []
    while (job := await world.queue.acquire(world.worker, world.clock.now())) is not None:
        await world.complete(job)
        assert job.build is not None
        if job.build.transition == "start":
            await world.make_ready(job.build.workspace_id)
            made.append(job.build.workspace_id)
    return made


async def hear(world: PoolWorld, seconds: float, *living: UUID) -> None:
    """Time passes; gateways report all the while, and name these."""
    for _ in range(int(seconds // 30)):
        world.clock.advance(30)
        await world.agents.record_liveness([token_hash(w) for w in living], [], world.clock.now())


async def health(world: PoolWorld) -> tuple[object, list[object]]:
    (row,) = await world.fetch("SELECT health FROM presets")
    told = await world.fetch("SELECT message FROM notifications")
    return row["health"], [each["message"] for each in told]


async def losses(world: PoolWorld) -> list[tuple[Loss, ...]]:
    snapshot = await world.pools.load_snapshot(world.clock.now())
    return [history.losses for history in snapshot.histories]


async def test_a_pool_whose_agents_keep_dying_waits_stops_and_says_so_once(
    world: PoolWorld,
) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    seen = [await run_once(world)]
    for _ in range(2):
        await work_off(world)
        await hear(world, LOST_SECONDS)
        seen.append(await run_once(world))
    assert seen == [(1, 0), (1, 1), (0, 1)]
    await hear(world, 60)
    assert await run_once(world) == (1, 0)
    await work_off(world)
    await hear(world, LOST_SECONDS)
    assert await health(world) == ("healthy", [])
    assert await run_once(world) == (0, 1)
    assert await health(world) == ("healthy", [])
    assert await run_once(world) == (0, 0)
    told = [
        "prebuilds became ready and were lost soon after, 3 times in a row;"
        " the pool stopped until it is resumed"
    ]
    assert await health(world) == ("hard_limited", told)
    await work_off(world)
    await hear(world, 7200)
    assert (await run_once(world), await health(world)) == ((0, 0), ("hard_limited", told))

    assert await world.pools.resume(world.preset_id, world.clock.now())
    assert await run_once(world) == (1, 0)
    await work_off(world)
    assert await run_once(world) == (0, 0)
    assert await health(world) == ("healthy", told)
    await hear(world, LOST_SECONDS)
    assert await run_once(world) == (1, 1)


async def test_the_loss_of_a_machine_stops_no_pool(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET instances = 8")
    await run_once(world)
    await work_off(world)
    await hear(world, LOST_SECONDS)
    seen = [await run_once(world)]
    replacements = await work_off(world)
    seen.append(await run_once(world))
    replacements += await work_off(world)
    assert seen == [(4, 4), (4, 4)]
    assert [len(each) for each in await losses(world)] == [8]
    await hear(world, LOST_SECONDS, *replacements)
    assert (await run_once(world), await health(world)) == ((0, 0), ("healthy", []))


async def test_who_lived_for_an_hour_proves_the_pool_and_is_no_loss(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    await run_once(world)
    for seconds, seen in ((3570, 1), (3600, 0)):
        made = await work_off(world)
        await hear(world, seconds, *made)
        await hear(world, LOST_SECONDS)
        assert await run_once(world) == (1, 1)
        snapshot = await world.pools.load_snapshot(world.clock.now())
        histories = [
            (len(each.losses), each.last_proven_at is not None) for each in snapshot.histories
        ]
        assert histories == [(1, seen == 0)], seconds


async def test_a_claim_served_to_the_end_proves_the_pool(world: PoolWorld) -> None:
    await run_once(world)
    made = await work_off(world)
    claimed = await world.claim()
    assert claimed is not None
    assert claimed in made
    await world.complete(await world.acquire())
    (claim,) = await world.fetch("SELECT id FROM claims")
    assert await run_once(world) == (1, 0)
    await hear(world, LOST_SECONDS, *await work_off(world))
    assert await run_once(world) == (1, 1)
    (history,) = (await world.pools.load_snapshot(world.clock.now())).histories
    assert (len(history.losses), history.last_proven_at) == (1, None)
    await world.record(token_hash(claimed), UUID(str(claim["id"])), "applied")
    (history,) = (await world.pools.load_snapshot(world.clock.now())).histories
    assert history.last_proven_at == world.clock.now()


async def test_losses_are_forgotten_after_a_day(world: PoolWorld) -> None:
    await run_once(world)
    await work_off(world)
    await hear(world, LOST_SECONDS)
    await run_once(world)
    assert [len(each) for each in await losses(world)] == [1]
    world.clock.advance(24 * 3600 - 1)
    assert [len(each) for each in await losses(world)] == [1]
    world.clock.advance(1)
    assert await losses(world) == []
