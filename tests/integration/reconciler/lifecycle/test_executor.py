"""The executor does what is due when it is due, and each rule to its end."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from reconciler.core.audit import Actor
from reconciler.core.imports import to_rows
from reconciler.core.lifecycle import LifecycleChange
from reconciler.core.templates import ImportedParameter
from reconciler.loops.leadership import LIFECYCLE_LOCK
from reconciler.loops.lifecycle import LifecycleLoop, LifecyclePass
from testkit.eventually import eventually
from testkit.pool_world import PoolWorld, RecordedHints, new_ids

pytestmark = pytest.mark.integration

TICK_SECONDS = 15.0


def make_loop(world: PoolWorld, hints: RecordedHints | None = None) -> LifecycleLoop:
    return LifecycleLoop(
        world.database,
        world.lifecycles,
        hints or RecordedHints(),
        world.clock,
        random.Random(7),
        uuid4,
        concurrency=2,
        tick_seconds=TICK_SECONDS,
    )


async def set_lifecycle(world: PoolWorld, workspace_id: UUID, **change: Any) -> None:
    actor = Actor(user_id=world.ada, audit_id=uuid4())
    now = world.clock.now()
    await world.lifecycles.change(workspace_id, LifecycleChange(**change), actor, now)


async def a_persons_build(world: PoolWorld, workspace_id: UUID, transition: str) -> None:
    await world.workspaces.queue_build(
        workspace_id,
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


async def latest(world: PoolWorld, workspace_id: UUID) -> tuple[str, str, str]:
    view = await world.workspaces.get(workspace_id, world.clock.now())
    return view.transition, view.reason, view.job_status


async def test_a_workspace_stops_at_its_deadline_and_not_before(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600)
    workspace_id = await world.own_workspace()
    hints = RecordedHints()
    loop = make_loop(world, hints)
    world.clock.advance(3590)
    assert await loop.run_once() == LifecyclePass(wait_seconds=10.0)

    world.clock.advance(10)
    assert await loop.run_once() == LifecyclePass(stopped=1)

    job = await world.acquire()
    assert await latest(world, workspace_id) == ("stop", "autostop", "running")
    assert hints.said == [("workspace_changed", workspace_id), ("job_posted", job.id)]
    assert await loop.run_once() == LifecyclePass()  # not twice
    await world.complete(job)
    view = await world.workspaces.get(workspace_id, world.clock.now())
    assert view.lifecycle is not None
    assert (view.lifecycle.deadline_at, view.lifecycle.ttl_seconds) == (None, 3600)
    (build,) = await world.fetch("SELECT initiator_id FROM workspace_builds WHERE number = 3")
    assert build == {"initiator_id": world.ada}


async def test_a_stop_that_failed_is_tried_again_an_hour_later(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600)
    await world.own_workspace()
    loop = make_loop(world)
    world.clock.advance(3600)
    assert (await loop.run_once()).stopped == 1
    await world.fail(await world.acquire())
    assert (await loop.run_once()).stopped == 0
    world.clock.advance(3600)
    assert (await loop.run_once()).stopped == 1


async def test_a_workspace_starts_by_its_owners_clock_day_after_day(world: PoolWorld) -> None:
    workspace_id = await world.own_workspace()
    await set_lifecycle(
        world, workspace_id, autostart_cron="30 9 * * *", autostart_timezone="Europe/Berlin"
    )
    await a_persons_build(world, workspace_id, "stop")
    await world.complete(await world.acquire())
    loop = make_loop(world)
    assert await loop.run_once() == LifecyclePass()
    world.clock.advance(8.5 * 3600)  # 09:30 in Berlin
    assert await loop.run_once() == LifecyclePass(started=1)
    await world.complete(await world.acquire())
    assert await latest(world, workspace_id) == ("start", "autostart", "succeeded")

    world.clock.advance(86_400)  # it runs already: the start is planned for the next day
    assert await loop.run_once() == LifecyclePass()
    view = await world.workspaces.get(workspace_id, world.clock.now())
    assert view.lifecycle is not None
    assert view.lifecycle.next_start_at == world.clock.now() + timedelta(days=1)
    assert await latest(world, workspace_id) == ("start", "autostart", "succeeded")


async def test_an_unused_workspace_rests_stops_and_goes(world: PoolWorld) -> None:
    await world.set_policy(dormant_after_seconds=86_400, delete_dormant_after_seconds=3600)
    workspace_id = await world.own_workspace()
    loop = make_loop(world)
    world.clock.advance(86_400)
    assert await loop.run_once() == LifecyclePass(dormant=1, wait_seconds=0.0)
    assert await loop.run_once() == LifecyclePass(stopped=1)
    assert (await latest(world, workspace_id))[:2] == ("stop", "dormancy")
    await world.complete(await world.acquire())
    world.clock.advance(3600)
    assert await loop.run_once() == LifecyclePass(deleted=1)
    assert (await latest(world, workspace_id))[:2] == ("delete", "autodelete")
    assert await world.fetch(
        "SELECT actor_id, target_id, details->>'owner' AS owner, details->>'reason' AS reason"
        " FROM audit_log WHERE action = 'workspace.delete'"
    ) == [
        {
            "actor_id": None,  # the system itself
            "target_id": str(workspace_id),
            "owner": "ada",
            "reason": "autodelete",
        }
    ]
    await world.complete(await world.acquire())
    view = await world.workspaces.get(workspace_id, world.clock.now())
    assert view.deleted_at == world.clock.now()
    assert await loop.run_once() == LifecyclePass()


async def test_whoever_starts_a_dormant_workspace_wakes_it(world: PoolWorld) -> None:
    await world.set_policy(delete_dormant_after_seconds=3600)
    workspace_id = await world.own_workspace()
    await set_lifecycle(world, workspace_id, is_dormant=True)
    loop = make_loop(world)
    assert (await loop.run_once()).stopped == 1
    await world.complete(await world.acquire())
    world.clock.advance(3600)
    await a_persons_build(world, workspace_id, "start")
    await world.complete(await world.acquire())
    assert await loop.run_once() == LifecyclePass(woken=1)
    view = await world.workspaces.get(workspace_id, world.clock.now())
    assert view.lifecycle is not None
    assert (view.lifecycle.dormant_at, view.lifecycle.deleting_at) == (None, None)
    assert await latest(world, workspace_id) == ("start", "initiator", "succeeded")


async def test_a_start_that_failed_is_stopped_after_the_templates_patience(
    world: PoolWorld,
) -> None:
    await world.set_policy(failure_ttl_seconds=600)
    ids = new_ids()
    await world.maker.create(world.wanted(), ids, "empty", world.clock.now())
    await world.fail(await world.acquire())
    loop = make_loop(world)
    world.clock.advance(590)
    assert await loop.run_once() == LifecyclePass(wait_seconds=10.0)
    world.clock.advance(10)
    assert (await loop.run_once()).stopped == 1
    assert (await latest(world, ids.workspace_id))[:2] == ("stop", "failure_ttl")


async def test_a_shorter_time_to_a_deletion_begins_anew_for_who_is_dormant(
    world: PoolWorld,
) -> None:
    workspace_id = await world.own_workspace()
    await set_lifecycle(world, workspace_id, is_dormant=True)
    world.clock.advance(86_400)
    await world.set_policy(delete_dormant_after_seconds=3600)
    view = await world.workspaces.get(workspace_id, world.clock.now())
    assert view.lifecycle is not None
    assert view.lifecycle.deleting_at == world.clock.now() + timedelta(hours=1)


async def test_nobody_waits_behind_what_workspaces_do_by_themselves(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600)
    stopping = await world.own_workspace()
    other = await world.own_workspace()
    await a_persons_build(world, other, "stop")
    await world.complete(await world.acquire())
    world.clock.advance(3600)
    assert (await make_loop(world).run_once()).stopped == 1
    world.clock.advance(1)
    await a_persons_build(world, other, "start")
    builds = [(await world.acquire()).build for _ in range(2)]
    assert [build.workspace_id for build in builds if build] == [other, stopping]


async def test_one_replica_at_a_time(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600)
    await world.own_workspace()
    world.clock.advance(3600)
    async with world.database.try_lock(LIFECYCLE_LOCK) as is_leader:
        assert is_leader
        assert await make_loop(world).run_once() == LifecyclePass(is_leader=False)
    assert (await make_loop(world).run_once()).stopped == 1


async def test_who_cannot_be_started_holds_up_nobody_and_is_left_alone(world: PoolWorld) -> None:
    stuck, fine = await world.own_workspace(), await world.own_workspace()
    for each in (stuck, fine):
        await set_lifecycle(world, each, autostart_cron="0 1 * * *")
        await a_persons_build(world, each, "stop")
        await world.complete(await world.acquire())
    # The stuck one was built with a version that has come to ask for what it cannot know.
    version_id = uuid4()
    async with world.database.read() as connection:
        await world.add_version(version_id, "v2", connection)
    await world.execute(
        "UPDATE template_versions SET parameters = $2 WHERE id = $1",
        version_id,
        to_rows([ImportedParameter(name="size", mutable=True)]),
    )
    await world.execute(
        "UPDATE workspaces SET latest_template_version_id = $2 WHERE id = $1", stuck, version_id
    )
    loop = make_loop(world)
    world.clock.advance(3600)
    assert await loop.run_once() == LifecyclePass(started=1, failed=1)
    assert await loop.run_once() == LifecyclePass()
    world.clock.advance(60)
    assert await loop.run_once() == LifecyclePass(failed=1)


async def test_it_sleeps_until_something_is_due(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=60)
    workspace_id = await world.own_workspace()
    world.clock.advance(59)
    loop = make_loop(world)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(loop.run())
        await eventually(lambda: _require(world.clock.sleeping == 1))
        world.clock.advance(1)  # less than any tick
        await eventually(lambda: _require_stop(world, workspace_id))
        task.cancel()


def _require(condition: bool) -> None:
    assert condition


async def _require_stop(world: PoolWorld, workspace_id: UUID) -> None:
    assert (await latest(world, workspace_id))[0] == "stop"
