"""How a pool stops, says so once, is tried again, and shows why: through the real loop."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from reconciler.core.pools import PoolSettings, count_pool, preset_states
from reconciler.loops.pool import PoolLoop
from svckit.nudge import Nudge
from testkit.pool_world import PoolWorld, RecordedHints, new_ids, token_hash

pytestmark = pytest.mark.integration

SETTINGS = PoolSettings(backoff_interval_seconds=60)


@pytest.fixture
async def single(world: PoolWorld) -> PoolWorld:
    """A pool of one."""
    await world.execute("UPDATE presets SET instances = 1")
    return world


def a_loop(world: PoolWorld) -> PoolLoop:
    return PoolLoop(
        world.database,
        world.pools,
        RecordedHints(),
        Nudge(),
        world.clock,
        random.Random(7),
        uuid4,
        settings=SETTINGS,
        concurrency=2,
        tick_seconds=15,
    )


async def work_off(world: PoolWorld, *, creations_succeed: bool) -> None:
    """The worker takes everything; deletions always work."""
    while (job := await world.queue.acquire(world.worker, world.clock.now())) is not None:
        assert job.build is not None
        if job.build.stage != "create" or creations_succeed:
            await world.complete(job)
            if job.build.transition == "start":
                await world.make_ready(job.build.workspace_id)
        else:
            await world.fail(job)


async def pass_and_work(world: PoolWorld, *, creations_succeed: bool) -> None:
    world.clock.advance(3600)
    await a_loop(world).run_once()
    await work_off(world, creations_succeed=creations_succeed)


async def health(world: PoolWorld) -> object:
    (row,) = await world.fetch("SELECT health FROM presets")
    return row["health"]


async def test_a_failed_probe_leaves_the_pool_stopped(single: PoolWorld) -> None:
    for _ in range(4):
        await pass_and_work(single, creations_succeed=False)
    assert await health(single) == "hard_limited"
    assert await single.pools.resume(single.preset_id, single.clock.now())
    assert await health(single) == "hard_limited"
    await pass_and_work(single, creations_succeed=False)
    world_before = await single.fetch("SELECT count(*) FROM workspaces")
    for _ in range(3):
        await pass_and_work(single, creations_succeed=True)
    assert await health(single) == "hard_limited"
    assert await single.fetch("SELECT count(*) FROM workspaces") == world_before


async def test_a_good_probe_heals_the_pool_and_it_may_stop_again(single: PoolWorld) -> None:
    for _ in range(4):
        await pass_and_work(single, creations_succeed=False)
    assert await single.pools.resume(single.preset_id, single.clock.now())
    await pass_and_work(single, creations_succeed=True)
    await pass_and_work(single, creations_succeed=True)
    assert await health(single) == "healthy"
    assert await single.pools.resume(single.preset_id, single.clock.now()) is False

    await single.execute("UPDATE presets SET instances = 2")
    for _ in range(4):
        await pass_and_work(single, creations_succeed=False)
    seen = [await health(single)]
    for _ in range(3):
        await pass_and_work(single, creations_succeed=False)
        seen.append(await health(single))
    assert seen == ["hard_limited"] * 4
    kinds = await single.fetch("SELECT kind FROM notifications")
    assert kinds == [{"kind": "pool.hard_limited"}]


async def test_a_probe_whose_worker_was_lost_is_followed_by_another(single: PoolWorld) -> None:
    for _ in range(4):
        await pass_and_work(single, creations_succeed=False)
    assert await single.pools.resume(single.preset_id, single.clock.now())
    single.clock.advance(1)
    await a_loop(single).run_once()
    while (job := await single.acquire()).build is None or job.build.stage != "create":
        await single.complete(job)
    await single.queue.heartbeat(job.id, job.attempt, None, (), single.clock.now())
    single.clock.advance(301)
    second = timedelta(seconds=1)
    (silent,) = await single.queue.list_silent(
        single.clock.now(), unconfirmed=second, hung=second, stale=second, limit=1
    )
    await single.ends.settle_silent(silent, single.clock.now())
    assert await health(single) == "hard_limited"
    for _ in range(2):
        await pass_and_work(single, creations_succeed=True)
    assert await health(single) == "healthy"


async def test_what_validation_refuses_is_told_once_and_waits_for_a_version(
    single: PoolWorld,
) -> None:
    await single.execute("UPDATE presets SET instances = 2")
    await a_loop(single).run_once()
    for _ in range(2):
        job = await single.acquire()
        await single.ends.fail(
            job.id,
            job.attempt,
            None,
            error="size: is 9; 1 to 4",
            reason="VALIDATION",
            is_retryable=False,
            lines=(),
            now=single.clock.now(),
        )
    assert await health(single) == "validation_failed"
    assert await single.fetch("SELECT kind, message FROM notifications") == [
        {
            "kind": "pool.validation_failed",
            "message": "validation refused a prebuild; the pool waits for a version:"
            " size: is 9; 1 to 4",
        }
    ]
    assert await single.pools.resume(single.preset_id, single.clock.now()) is False
    single.clock.advance(7200)
    assert (await a_loop(single).run_once()).created == 0
    version, preset = uuid4(), uuid4()
    async with single.database.read() as connection:
        await single.add_version(version, "v2", connection)
        await single.add_preset(preset, "standard", 2, connection, version_id=version)
        await single.promote(version, connection)
    assert (await a_loop(single).run_once()).created == 2


async def hear(world: PoolWorld, seconds: float, *connected: UUID) -> None:
    """Time passes, with a report every half minute that names these workspaces' agents."""
    for _ in range(int(seconds // 30)):
        world.clock.advance(30)
        await world.agents.record_liveness(
            [token_hash(w) for w in connected], [], world.clock.now()
        )


async def deletions(world: PoolWorld) -> list[tuple[object, object]]:
    rows = await world.fetch(
        "SELECT workspace_id, reason FROM workspace_builds WHERE transition = 'delete'"
    )
    return [(row["workspace_id"], row["reason"]) for row in rows]


@pytest.mark.parametrize("way", ["silent", "disconnected", "off"])
async def test_a_member_whose_agent_died_is_replaced(world: PoolWorld, way: str) -> None:
    alive, dead = await world.ready_prebuild(), await world.ready_prebuild()
    now, token = world.clock.now(), token_hash(dead)
    still_there = [alive]
    if way == "disconnected":
        await world.agents.record_liveness([], [token], now)
    elif way == "off":
        await world.agents.record_lifecycle(token, "off", now, "", now)
        still_there.append(dead)
    loop = a_loop(world)
    await hear(world, 600, *still_there)
    result = await loop.run_once()
    assert (result.deleted, result.created) == (0, 0)
    assert result.plan is not None
    assert result.plan.look_again_at is not None
    world.clock.advance((result.plan.look_again_at - world.clock.now()).total_seconds())
    result = await loop.run_once()
    assert (result.deleted, result.created) == (1, 1)
    assert await deletions(world) == [(dead, "lost")]
    await work_off(world, creations_succeed=True)
    assert (await loop.run_once()).plan is not None
    assert (await deletions(world), await world.is_in_pool(alive)) == ([(dead, "lost")], True)


async def test_the_last_agent_of_all_is_missed_by_a_gateway_that_has_none(
    single: PoolWorld,
) -> None:
    dead = await single.ready_prebuild()
    await hear(single, 630)
    assert (await a_loop(single).run_once()).created == 1
    assert await deletions(single) == [(dead, "lost")]


async def test_nobody_is_lost_in_a_silence_of_all_gateways_nor_soon_after(
    world: PoolWorld,
) -> None:
    members = [await world.ready_prebuild() for _ in range(2)]
    loop = a_loop(world)
    world.clock.advance(7200)
    results = [await loop.run_once()]
    await hear(world, 570, members[0])
    results.append(await loop.run_once())
    assert [(result.deleted, result.created) for result in results] == [(0, 0)] * 2
    await hear(world, 90, members[0])
    assert (await loop.run_once()).deleted == 1
    assert await deletions(world) == [(members[1], "lost")]


async def test_the_newest_failed_member_is_kept_and_listed(single: PoolWorld) -> None:
    made: list[UUID] = []
    for _ in range(2):
        await pass_and_work(single, creations_succeed=False)
        (newest,) = await single.fetch("SELECT id FROM workspaces ORDER BY created_at DESC LIMIT 1")
        made.append(UUID(str(newest["id"])))
    await pass_and_work(single, creations_succeed=True)
    snapshot = await single.pools.load_snapshot(single.clock.now())
    members = {member.workspace_id: member.job.value for member in snapshot.members}
    (state,) = preset_states(snapshot, SETTINGS)
    counts = count_pool(state)
    assert made[0] not in members
    assert members[made[1]] == "failed"
    assert (counts.desired, counts.running, counts.eligible, counts.failed) == (1, 1, 1, 1)
    assert await single.pools.last_errors([single.preset_id]) == {}


async def test_a_failed_deletion_is_tried_again_later_and_later(single: PoolWorld) -> None:
    await single.ready_prebuild()
    await single.execute("UPDATE presets SET instances = 0")
    loop = a_loop(single)
    assert (await loop.run_once()).deleted == 1
    waits: list[int] = []
    for _ in range(3):
        await single.fail(await single.acquire())
        waited = 0
        while (await loop.run_once()).deleted == 0:
            waited += 60
            single.clock.advance(60)
        waits.append(waited)
    assert waits == [60, 120, 240]


async def test_a_backoff_blocks_creation_only(world: PoolWorld) -> None:
    ready = await world.ready_prebuild()
    loop = a_loop(world)
    assert (await loop.run_once()).created == 1
    await world.fail(await world.acquire())
    await world.execute("UPDATE workspaces SET invalidated_at = now() WHERE id = $1", ready)
    result = await loop.run_once()
    assert (result.created, result.deleted) == (0, 1)
    assert result.plan is not None
    assert result.plan.look_again_at is not None
    world.clock.advance((result.plan.look_again_at - world.clock.now()).total_seconds())
    assert (await loop.run_once()).created == 2


async def test_the_pool_joins_organizations_before_it_creates(world: PoolWorld) -> None:
    organization = uuid4()
    await world.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES ($1, 'research', now())",
        organization,
    )
    await world.execute("UPDATE templates SET organization_id = $1", organization)
    members = (
        "SELECT m.roles FROM organization_members m JOIN users u ON u.id = m.user_id"
        " WHERE u.is_system AND m.organization_id = $1"
    )
    assert await world.fetch(members, organization) == []
    for _ in range(2):
        await a_loop(world).run_once()
        assert await world.fetch(members, organization) == [{"roles": []}]


async def test_a_part_of_the_pools_is_the_same_part_of_the_whole(world: PoolWorld) -> None:
    await world.ready_prebuild()
    other = uuid4()
    async with world.database.read() as connection:
        await world.add_preset(other, "large", 1, connection)
    now = world.clock.now()
    whole = await world.pools.load_snapshot(now)
    one = await world.pools.load_snapshot(now, preset_ids=[world.preset_id])
    assert (one.presets, one.members) == (whole.presets[1:], whole.members)
    empty = await world.pools.load_snapshot(now, preset_ids=[other])
    assert (empty.presets, empty.members) == (whole.presets[:1], ())
    assert await world.pools.load_snapshot(now, template="dev") == whole
    strange = await world.pools.load_snapshot(now, template="prod")
    assert (strange.presets, strange.members) == ((), ())


async def test_a_missing_provisioner_says_nothing_about_the_pool(world: PoolWorld) -> None:
    for _ in range(3):
        workspace_id = await world.create_prebuild()
        await world.execute(
            "UPDATE jobs SET status = 'failed', error_reason = 'NO_PROVISIONER', finished_at = $2"
            " FROM workspaces w WHERE jobs.id = w.latest_job_id AND w.id = $1",
            workspace_id,
            world.clock.now(),
        )
    snapshot = await world.pools.load_snapshot(world.clock.now())
    assert snapshot.histories == ()


@pytest.mark.parametrize("way", ["failed", "never_ready"])
async def test_an_old_failure_is_forgotten_once_a_member_was_made_well(
    single: PoolWorld, way: str
) -> None:
    async def count() -> list[tuple[int, int]]:
        histories = (await single.pools.load_snapshot(single.clock.now())).histories
        return [(h.recent_failure_count, h.consecutive_failure_count) for h in histories]

    workspace_id = await single.create_prebuild()
    job = await single.acquire()
    if way == "failed":
        await single.fail(job)
    else:
        await single.complete(job)
        await single.pools.delete_prebuild(workspace_id, way, new_ids(), single.clock.now())
        await single.complete(await single.acquire())
    seen = [await count()]
    single.clock.advance(3601)
    seen.append(await count())
    await single.ready_prebuild()
    seen.append(await count())
    # THEN a failure is news again, and counts alone
    single.clock.advance(1)
    await single.create_prebuild()
    await single.fail(await single.acquire())
    seen.append(await count())
    assert seen == [[(1, 1)], [(0, 1)], [], [(1, 1)]]


async def test_resuming_one_pool_leaves_the_others_of_its_template_paused(
    world: PoolWorld,
) -> None:
    async with world.database.read() as connection:
        await world.add_preset(uuid4(), "large", 1, connection)
    for preset, paused in (("", True), ("standard", False)):
        await world.pools.set_preset_paused(
            world.template_id, preset, paused, world.ada, world.clock.now()
        )
    snapshot = await world.pools.load_snapshot(world.clock.now())
    assert {preset.preset_name: preset.paused for preset in snapshot.presets} == {
        "large": True,
        "standard": False,
    }


async def test_a_cancellation_that_fails_is_logged_and_blocks_nothing(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """The old version has one member that runs and one that waits; the new one wants two."""
    running, waiting = await world.ready_prebuild(), await world.create_prebuild()
    version, preset = uuid4(), uuid4()
    async with world.database.read() as connection:
        await world.add_version(version, "v2", connection)
        await world.add_preset(preset, "standard", 2, connection, version_id=version)
        await world.promote(version, connection)
    await world.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'not now'; END $$"""
    )
    await world.execute(
        """CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW
        WHEN (NEW.status = 'canceled') EXECUTE FUNCTION refuse()"""
    )
    result = await a_loop(world).run_once()
    assert (result.created, result.deleted, result.cancelled, result.failed) == (2, 1, 0, 1)
    assert [record.message for record in caplog.records] == ["a pool action failed"]
    assert await world.fetch(
        "SELECT w.deleted_at, j.status, b.finished_at FROM workspaces w"
        " JOIN workspace_builds b ON b.workspace_id = w.id JOIN jobs j ON j.id = b.job_id"
        " WHERE w.id = $1",
        waiting,
    ) == [{"deleted_at": None, "status": "pending", "finished_at": None}]
    await world.execute("DROP TRIGGER refuse ON jobs")
    result = await a_loop(world).run_once()
    assert (result.created, result.deleted, result.cancelled, result.failed) == (0, 0, 1, 0)
    assert await world.is_in_pool(running)
