"""What is told of: the deed and the telling are one transaction, and a key is told once."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from reconciler.core.jobs import AcquiredJob
from reconciler.core.pools import PoolHealth
from testkit.notice_desk import NoticeDesk
from testkit.pool_world import PoolWorld

pytestmark = pytest.mark.integration


async def told(world: PoolWorld) -> list[tuple[object, ...]]:
    """Kind, whom it is for, and facts of every event, oldest first."""
    rows = await world.fetch(
        "SELECT kind, (SELECT username FROM users WHERE id = recipient_id) AS username, facts"
        " FROM notifications ORDER BY created_at, key"
    )
    return [tuple(row.values()) for row in rows]


async def a_claim_build(world: PoolWorld) -> AcquiredJob:
    await world.ready_prebuild()
    assert await world.claim() is not None
    return await world.acquire()


async def test_a_pool_that_stopped_is_told_of_once_with_names(world: PoolWorld) -> None:
    for message in ("3 builds failed", "again"):
        now = world.clock.now()
        limited = PoolHealth.HARD_LIMITED
        assert await world.pools.mark_health(world.preset_id, limited, message=message, now=now)
        await world.pools.mark_health(world.preset_id, PoolHealth.HEALTHY, message="", now=now)
        world.clock.advance(86_400)
    facts = {"template": "dev", "version": "v1", "preset": "standard"}
    assert await told(world) == [("pool.hard_limited", None, facts)]


async def test_a_claim_that_failed_is_told_to_the_claimant_once_a_day(world: PoolWorld) -> None:
    for attempt in range(2):
        await world.fail(await a_claim_build(world) if not attempt else await rebuild(world))
    (event,) = await world.fetch("SELECT message FROM notifications")
    (row,) = await world.fetch("SELECT name FROM workspaces WHERE owner_id = $1", world.ada)
    name = row["name"]
    assert event["message"] == f'The claim of workspace "{name}" (template "dev") failed: it broke'
    facts = {"workspace": name, "template": "dev", "preset": "standard"}
    assert await told(world) == [("claim.failed", "ada", facts)]
    world.clock.advance(86_400)
    await world.fail(await rebuild(world, "stop"))  # that is not the claim's
    await world.fail(await rebuild(world))
    assert [event[0] for event in await told(world)] == ["claim.failed"] * 2


async def rebuild(world: PoolWorld, transition: str = "start") -> AcquiredJob:
    """Another build of ada's workspace, in a worker's hands."""
    (row,) = await world.fetch("SELECT id FROM workspaces WHERE owner_id = $1", world.ada)
    await world.workspaces.queue_build(
        UUID(str(row["id"])),
        world.ada,
        transition=transition,
        version_id=None,
        parameters=None,
        initiator_id=world.ada,
        build_id=uuid4(),
        job_id=uuid4(),
        traceparent="",
        now=world.clock.now(),
    )
    return await world.acquire()


async def test_a_claim_that_is_tried_again_or_was_ended_on_request_is_no_news(
    world: PoolWorld,
) -> None:
    job = await a_claim_build(world)
    await world.fail(job, retryable=True)
    assert await told(world) == []
    await world.ends.cancel(job.id, world.clock.now())
    assert await told(world) == []


async def test_a_build_of_somebodys_that_fails_is_no_claim(world: PoolWorld) -> None:
    await world.create_prebuild()
    await world.fail(await world.acquire())
    assert await told(world) == []


async def test_jobs_nobody_takes_are_told_of_once_a_day_for_each_sort(desk: NoticeDesk) -> None:
    world = desk.world
    await world.create_prebuild()
    await world.create_prebuild()
    planner = desk.planner(missing_seconds=600)
    await planner.run_once()
    assert await told(world) == []  # they have not waited long
    world.clock.advance(600 + 1)
    for _ in range(3):
        await planner.run_once()
        world.clock.advance(61)
    (event,) = await world.fetch("SELECT kind, message FROM notifications")
    assert event == {
        "kind": "provisioners.missing",
        "message": '2 jobs for provisioners of type "process" with any tags wait, the oldest for'
        " 10 minutes. No provisioner that could take them is connected.",
    }
    world.clock.advance(86_400)
    await planner.run_once()
    assert len(await told(world)) == 2


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({}, False),
        ({"provisioner_types": ["terraform"]}, True),
        ({"tags": {"zone": "a", "more": "x"}}, False),
        ({"tags": {"zone": "b"}}, True),
        ({"tags": {}}, True),
        ({"last_seen_at": timedelta(seconds=-61)}, True),
    ],
)
async def test_a_provisioner_that_could_take_them_is_enough(
    desk: NoticeDesk, changes: dict[str, object], is_told: bool
) -> None:
    world = desk.world
    await world.execute("UPDATE templates SET provisioner_tags = $1", {"zone": "a"})
    await world.create_prebuild()
    world.clock.advance(700)
    now = world.clock.now()
    seen = changes.pop("last_seen_at", timedelta())
    assert isinstance(seen, timedelta)
    worker = {"provisioner_types": ["process"], "tags": {"zone": "a"}} | changes
    await world.execute(
        "INSERT INTO workers (id, name, version, provisioner_types, tags, service_key_id,"
        " last_seen_at) VALUES ($1, 'w', '1', $2, $3, $4, $5)",
        uuid4(),
        worker["provisioner_types"],
        worker["tags"],
        world.worker.key_id,
        now + seen,
    )
    await desk.planner(missing_seconds=600).run_once()
    assert bool(await told(world)) is is_told
    if not is_told:  # AND a worker whose key was revoked is none
        await world.execute("UPDATE service_keys SET revoked_at = $1", now)
        await desk.planner(missing_seconds=600).run_once()
        assert len(await told(world)) == 1


async def test_nobody_looks_where_nobody_asked_for_it(desk: NoticeDesk) -> None:
    await desk.world.create_prebuild()
    desk.world.clock.advance(86_400)
    await desk.planner(missing_seconds=0).run_once()
    assert await told(desk.world) == []
