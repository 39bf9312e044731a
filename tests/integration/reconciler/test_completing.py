"""A build ends well, whatever happens between what is read for it and what it changes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from reconciler.core.builds import BuiltAgent, BuiltWorkspace, LogLine
from reconciler.core.jobs import AcquiredJob
from svckit.errors import Aborted, FailedPrecondition, NotFound
from testkit.clock import EPOCH
from testkit.eventually import eventually
from testkit.pool_world import PoolWorld, token_hash

pytestmark = pytest.mark.integration


async def a_claim_build(world: PoolWorld) -> tuple[UUID, AcquiredJob]:
    workspace_id = await world.ready_prebuild()
    await world.claim()
    return workspace_id, await world.acquire()


async def test_what_changes_meanwhile_is_seen(world: PoolWorld, migrated_url: str) -> None:
    """GIVEN an owner who changes when their workspace stops, just as its build ends."""
    workspace_id, job = await a_claim_build(world)
    owner = await asyncpg.connect(migrated_url)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("UPDATE workspaces SET ttl_seconds = 60 WHERE id = $1", workspace_id)
        completing = tasks.create_task(world.complete(job))
        await eventually(lambda: _assert_waiting(world))
        await transaction.commit()
        assert await completing is not None
    await owner.close()
    (row,) = await world.fetch(
        "SELECT latest_job_status, deadline_at FROM workspaces WHERE id = $1", workspace_id
    )
    assert row == {
        "latest_job_status": "succeeded",
        "deadline_at": world.clock.now() + timedelta(seconds=60),
    }


async def test_an_attempt_that_is_superseded_meanwhile_changes_nothing(
    world: PoolWorld, migrated_url: str
) -> None:
    workspace_id, job = await a_claim_build(world)
    reaper = await asyncpg.connect(migrated_url)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        transaction = reaper.transaction()
        await transaction.start()
        await reaper.execute("UPDATE jobs SET attempt = attempt + 1 WHERE id = $1", job.id)
        completing = tasks.create_task(_refusal(world, job))
        await eventually(lambda: _assert_waiting(world))
        await transaction.commit()
        assert isinstance(await completing, Aborted)
    await reaper.close()
    (row,) = await world.fetch(
        "SELECT latest_job_status, (SELECT built_at FROM claims) AS built_at FROM workspaces"
        " WHERE id = $1",
        workspace_id,
    )
    assert row == {"latest_job_status": "running", "built_at": None}
    assert await world.fetch("SELECT id FROM outbox") == []


async def _refusal(world: PoolWorld, job: AcquiredJob) -> Exception | None:
    try:
        await world.complete(job)
    except Aborted as error:
        return error
    return None


async def _assert_waiting(world: PoolWorld) -> None:
    rows = await world.fetch(
        "SELECT pid FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    assert len(rows) == 1


async def test_an_agent_of_another_workspace_is_refused_and_nothing_changes(
    world: PoolWorld,
) -> None:
    await world.ready_prebuild()
    (stolen,) = await world.fetch("SELECT id, workspace_id, name FROM agents")
    await world.create_prebuild()
    robbing = await world.acquire()
    agent = BuiltAgent(
        id=UUID(str(stolen["id"])), name="mine", token_hash=token_hash(UUID(int=7)), manifest={}
    )
    with pytest.raises(FailedPrecondition) as raised:
        await world.ends.complete_build(
            robbing.id,
            robbing.attempt,
            None,
            BuiltWorkspace(agents=(agent,)),
            (_line(1),),
            world.clock.now(),
        )
    assert raised.value.reason == "AGENT_ID_TAKEN"
    (row,) = await world.fetch("SELECT status, log_bytes FROM jobs WHERE id = $1", robbing.id)
    assert row == {"status": "running", "log_bytes": 0}
    assert await world.fetch("SELECT id, workspace_id, name FROM agents") == [stolen]


async def test_the_last_lines_are_stored_with_the_end_and_counted(world: PoolWorld) -> None:
    _, job = await a_claim_build(world)
    await world.queue.heartbeat(job.id, job.attempt, None, (_line(1),), world.clock.now())
    assert job.build is not None
    await world.ends.complete_build(
        job.id, job.attempt, None, BuiltWorkspace(), (_line(1), _line(2)), world.clock.now()
    )
    lines = await world.queue.list_lines(job.id, 0, 10)
    assert [line.text for line in lines] == ["line 1", "line 2"]
    (row,) = await world.fetch("SELECT log_bytes FROM jobs WHERE id = $1", job.id)
    assert row == {"log_bytes": 3 * len("line 1")}


async def test_a_job_that_builds_nothing_has_no_build_to_complete(world: PoolWorld) -> None:
    await world.execute("UPDATE jobs SET status = 'pending', finished_at = NULL")
    importing = await world.acquire()
    for job_id, error, reason in (
        (importing.id, FailedPrecondition, "WRONG_RESULT"),
        (UUID(int=1), NotFound, "JOB_UNKNOWN"),
    ):
        with pytest.raises(error) as raised:
            await world.ends.complete_build(
                job_id, 1, None, BuiltWorkspace(), (), world.clock.now()
            )
        assert raised.value.reason == reason


def _line(number: int) -> LogLine:
    return LogLine(
        sequence=number,
        written_at=EPOCH,
        level="info",
        stage="apply",
        text=f"line {number}",
    )
