"""Whoever asks for a workspace while its template is being deleted gets all of it, or an error."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from reconciler.store.templates import SQL
from svckit.errors import FailedPrecondition
from testkit.eventually import eventually
from testkit.pool_world import PoolWorld, new_ids

pytestmark = pytest.mark.integration


async def _create(world: PoolWorld) -> UUID:
    created = await world.maker.create(world.wanted(), new_ids(), "no_pool", world.clock.now())
    return created.workspace_id


async def _somebody_waits_for_a_lock(world: PoolWorld) -> None:
    rows = await world.fetch(
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    assert len(rows) == 1


async def test_a_creation_that_waits_for_the_deletion_makes_nothing(world: PoolWorld) -> None:
    async with (
        world.database.read() as deleter,
        asyncio.TaskGroup() as tasks,
        deleter.transaction(),
    ):
        await deleter.fetchrow(SQL.hold_for_deletion, world.template_id)
        await deleter.execute(SQL.delete_template, world.template_id, world.clock.now())
        creation = tasks.create_task(_outcome(world))
        await eventually(lambda: _somebody_waits_for_a_lock(world))
    assert creation.result() == "TEMPLATE_DELETED"
    rows = await world.fetch(
        "SELECT (SELECT count(*) FROM workspaces) AS workspaces,"
        " (SELECT count(*) FROM workspace_builds) AS builds,"
        " (SELECT count(*) FROM jobs WHERE kind = 'workspace_build') AS jobs"
    )
    assert rows == [{"workspaces": 0, "builds": 0, "jobs": 0}]


async def test_a_deletion_waits_for_the_creation_and_sees_it(world: PoolWorld) -> None:
    async with (
        world.database.read() as creator,
        asyncio.TaskGroup() as tasks,
        creator.transaction(),
    ):
        await creator.fetchrow(
            "SELECT id FROM templates WHERE id = $1 FOR KEY SHARE", world.template_id
        )
        holding = tasks.create_task(_hold_and_count(world))
        await eventually(lambda: _somebody_waits_for_a_lock(world))
        await _create(world)
    assert holding.result() == 1


async def test_nothing_is_made_of_a_deleted_template(world: PoolWorld) -> None:
    await world.execute("UPDATE templates SET deleted_at = created_at")
    with pytest.raises(FailedPrecondition, match="it has been deleted") as raised:
        await _create(world)
    assert raised.value.field == "template"


async def _outcome(world: PoolWorld) -> str:
    try:
        await _create(world)
    except FailedPrecondition as error:
        return error.reason
    return "created"


async def _hold_and_count(world: PoolWorld) -> int:
    async with world.database.read() as connection, connection.transaction():
        await connection.fetchrow(SQL.hold_for_deletion, world.template_id)
        return await connection.fetchval(
            SQL.count_workspaces_of_people, world.template_id, UUID(int=0)
        )
