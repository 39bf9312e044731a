"""No lifecycle query touches a prebuild, even one whose row says that everything is due.

A constraint forbids such rows, so these tests drop it first; the last one puts it to the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.store.queries import load_queries
from testkit.pool_world import PoolWorld, new_ids

pytestmark = pytest.mark.integration

SQL = load_queries("lifecycle")
FIELDS = (
    "autostart_schedule",
    "autostart_timezone",
    "next_start_at",
    "ttl_seconds",
    "deadline_at",
    "max_deadline_at",
    "dormant_at",
    "deleting_at",
    "last_used_at",
)
UNSET = dict.fromkeys(FIELDS)
Query = Callable[[PoolWorld, UUID], Awaitable[object]]


async def fields_of(world: PoolWorld, workspace_id: UUID) -> dict[str, object]:
    (row,) = await world.fetch(
        f"SELECT {', '.join(FIELDS)} FROM workspaces WHERE id = $1", workspace_id
    )
    return row


async def a_ruled_prebuild(world: PoolWorld) -> UUID:
    """A prebuild that all rules would be for, were it a person's."""
    await world.set_policy(
        dormant_after_seconds=60, delete_dormant_after_seconds=60, failure_ttl_seconds=60
    )
    workspace_id = await world.ready_prebuild()
    await world.execute("ALTER TABLE workspaces DROP CONSTRAINT prebuild_has_no_lifecycle")
    await world.execute(
        "UPDATE workspaces SET autostart_schedule = '* * * * *', autostart_timezone = 'UTC',"
        " next_start_at = $2, ttl_seconds = 60, deadline_at = $2, max_deadline_at = $2,"
        " dormant_at = $2, deleting_at = $2, last_used_at = $2 WHERE id = $1",
        workspace_id,
        world.clock.now(),
    )
    world.clock.advance(7200)
    return workspace_id


async def _list_due(world: PoolWorld, workspace_id: UUID) -> None:
    assert await world.lifecycles.list_due(world.clock.now() + timedelta(days=900), 10) == ()


async def _hold(world: PoolWorld, workspace_id: UUID) -> None:
    assert await world.lifecycles.settle(workspace_id, uuid4(), uuid4(), world.clock.now()) is None


def _run(name: str, *arguments: Any) -> Query:
    async def query(world: PoolWorld, workspace_id: UUID) -> None:
        await world.execute(SQL.texts[name], workspace_id, SYSTEM_USER_ID, *arguments)

    return query


async def _note_use(world: PoolWorld, workspace_id: UUID) -> None:
    await world.execute(SQL.note_use, workspace_id, SYSTEM_USER_ID, world.clock.now())


async def _replan_deletions(world: PoolWorld, workspace_id: UUID) -> None:
    await world.execute(SQL.replan_deletions, world.template_id, SYSTEM_USER_ID, None)


QUERIES: dict[str, Query] = {
    "list_due": _list_due,
    "hold_lifecycle": _hold,
    "set_deadlines": _run("set_deadlines", None, None),
    "set_lifecycle": _run("set_lifecycle", None, None, None, 0),
    "plan_start": _run("plan_start", None),
    "set_dormant": _run("set_dormant", None, None),
    "note_use": _note_use,
    "replan_deletions": _replan_deletions,
}


@pytest.mark.parametrize("name", QUERIES)
async def test_a_query_leaves_prebuilds_alone(world: PoolWorld, name: str) -> None:
    workspace_id = await a_ruled_prebuild(world)
    before = await fields_of(world, workspace_id)
    assert None not in before.values()

    await QUERIES[name](world, workspace_id)

    assert await fields_of(world, workspace_id) == before
    view = await world.workspaces.get(workspace_id, world.clock.now())
    assert (view.build_number, view.lifecycle) == (1, None)


def test_every_query_about_workspaces_has_its_case() -> None:
    others = {"is_prebuild", "set_template_policy"}  # says whether it is one; is about templates
    assert set(SQL.texts) == {*QUERIES, *others}


@pytest.mark.parametrize("field", FIELDS)
async def test_the_database_refuses_a_prebuild_with_a_lifecycle(
    world: PoolWorld, field: str
) -> None:
    workspace_id = await world.ready_prebuild()
    value = {"autostart_schedule": "'x'", "autostart_timezone": "'x'", "ttl_seconds": "0"}
    with pytest.raises(asyncpg.CheckViolationError, match="prebuild_has_no_lifecycle"):
        await world.execute(
            f"UPDATE workspaces SET {field} = {value.get(field, 'now()')} WHERE id = $1",
            workspace_id,
        )


async def test_a_prebuild_has_none_of_it_and_a_claimed_workspace_all(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600, max_ttl_seconds=7200)
    workspace_id = await world.create_prebuild()
    assert await fields_of(world, workspace_id) == UNSET
    await world.complete(await world.acquire())
    assert await fields_of(world, workspace_id) == UNSET
    await world.make_ready(workspace_id)
    world.clock.advance(30)

    assert await world.claim() == workspace_id

    claimed_at = world.clock.now()
    claimed = UNSET | {"ttl_seconds": 3600, "last_used_at": claimed_at}
    assert await fields_of(world, workspace_id) == claimed
    world.clock.advance(5)
    await world.complete(await world.acquire())
    assert await fields_of(world, workspace_id) == claimed | {
        "deadline_at": world.clock.now() + timedelta(hours=1),
        "max_deadline_at": world.clock.now() + timedelta(hours=2),
    }


async def test_claims_together_set_what_one_alone_sets(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600)
    for _ in range(2):
        await world.ready_prebuild()
    asked = [(world.wanted(), new_ids()) for _ in range(2)]
    await world.maker.claim_many(asked, world.clock.now())
    rows = await world.fetch(f"SELECT {', '.join(FIELDS)} FROM workspaces")
    assert rows == [UNSET | {"ttl_seconds": 3600, "last_used_at": world.clock.now()}] * 2


async def test_a_workspace_built_from_scratch_starts_the_same_way(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600)
    ids = new_ids()
    await world.maker.create(world.wanted(), ids, "empty", world.clock.now())
    made = UNSET | {"ttl_seconds": 3600, "last_used_at": world.clock.now()}
    assert await fields_of(world, ids.workspace_id) == made
    await world.complete(await world.acquire())
    ended = world.clock.now() + timedelta(hours=1)
    assert await fields_of(world, ids.workspace_id) == made | {"deadline_at": ended}


async def test_claims_race_with_the_executor_and_nobody_is_treated_as_what_it_was(
    world: PoolWorld,
) -> None:
    """Members that idled for long are claimed while the executor looks for idle workspaces."""
    await world.set_policy(default_ttl_seconds=3600, dormant_after_seconds=60)
    members = [await world.ready_prebuild() for _ in range(8)]
    world.clock.advance(7200)
    for member in members:
        await world.make_ready(member)
    now = world.clock.now()
    claims: list[UUID | None] = []

    async def claim() -> None:
        claims.extend([await world.claim() for _ in range(len(members) // 2)])

    async def settle() -> None:
        for _ in range(4):
            for due in await world.lifecycles.list_due(now, 100):
                await world.lifecycles.settle(due.id, uuid4(), uuid4(), now)
            for member in members:
                assert await world.lifecycles.settle(member, uuid4(), uuid4(), now) is None

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(claim())
        tasks.create_task(settle())

    assert len(set(claims) - {None}) == 4
    reasons = await world.fetch("SELECT reason, count(*) AS n FROM workspace_builds GROUP BY 1")
    assert {row["reason"]: row["n"] for row in reasons} == {"prebuild": 8, "claim": 4}
    for member in members:
        expected = {"ttl_seconds": 3600, "last_used_at": now} if member in claims else {}
        assert await fields_of(world, member) == UNSET | expected
