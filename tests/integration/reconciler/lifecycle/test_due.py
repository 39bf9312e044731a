"""What SQL finds and what the core decides are the same, for workspaces of every kind."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from reconciler.store.migrate import list_migrations
from testkit.pool_world import PoolWorld

pytestmark = pytest.mark.integration

ROUNDS = 250
FAR = timedelta(days=10_000)


async def disarrange(world: PoolWorld, workspace_id: UUID, dice: random.Random) -> None:
    """Puts a workspace and its template into any state there is."""
    now = world.clock.now()

    def moment(odds: float = 0.5) -> datetime | None:
        hours = dice.choice([-100, -30, -2, -0.5, 0, 0.5, 2, 30])
        return now + timedelta(hours=hours) if dice.random() < odds else None

    def seconds() -> int:
        return dice.choice([0, 0, 60, 3600, 90_000])

    await world.execute(
        "UPDATE templates SET dormant_after_seconds = $2, delete_dormant_after_seconds = $3,"
        " failure_ttl_seconds = $4, is_autostart_allowed = $5 WHERE id = $1",
        world.template_id,
        seconds(),
        seconds(),
        seconds(),
        dice.random() < 0.8,
    )
    await world.execute(
        "UPDATE users SET disabled_at = $2 WHERE id = $1",
        world.ada,
        now if dice.random() < 0.2 else None,
    )
    has_autostart = dice.random() < 0.7
    transition = dice.choice(["start", "stop", "delete"])
    statuses = ["failed", "failed", "canceled", "running"]  # a delete that succeeded is the end
    if transition != "delete":
        statuses += ["succeeded"] * 3
    await world.execute(
        "UPDATE workspaces SET latest_transition = $2, latest_job_status = $3,"
        " latest_build_finished_at = $4, autostart_schedule = $5, autostart_timezone = $6,"
        " next_start_at = $7, deadline_at = $8, dormant_at = $9, deleting_at = $10,"
        " last_used_at = $11 WHERE id = $1",
        workspace_id,
        transition,
        dice.choice(statuses),
        moment(1),
        "0 8 * * *" if has_autostart else None,
        "UTC" if has_autostart else None,
        moment(),
        moment(),
        moment(0.4),
        moment(),
        moment(0.7),
    )


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_found_is_what_is_decided(world: PoolWorld, seed: int) -> None:
    dice = random.Random(seed)
    workspace_id = await world.own_workspace()
    seen = {"due now": 0, "due later": 0, "never due": 0}
    for _ in range(ROUNDS // 3):
        await disarrange(world, workspace_id, dice)
        found = await world.lifecycles.list_due(world.clock.now() + FAR, 10)
        if not found:
            kind = "never due"
            assert await settle(world, workspace_id, world.clock.now()) is None
            assert await settle(world, workspace_id, world.clock.now() + FAR) is None
        else:
            (due,) = found
            kind = "due now" if due.due_at <= world.clock.now() else "due later"
            just_before = due.due_at - timedelta(microseconds=1)
            assert await settle(world, workspace_id, just_before) is None
            assert await world.lifecycles.list_due(just_before, 10) == ()
            assert await settle(world, workspace_id, due.due_at) is not None
        seen[kind] += 1
    assert min(seen.values()) > 5, seen


async def settle(world: PoolWorld, workspace_id: UUID, at: datetime) -> object:
    return await world.lifecycles.settle(workspace_id, uuid4(), uuid4(), at)


async def test_who_is_longest_due_comes_first_and_some_are_left_alone(world: PoolWorld) -> None:
    await world.set_policy(default_ttl_seconds=3600)
    first = await world.own_workspace()
    world.clock.advance(1)
    second = await world.own_workspace()
    world.clock.advance(3600)
    now = world.clock.now()
    listed = await world.lifecycles.list_due(now, 10)
    assert [due.id for due in listed] == [first, second]
    assert [due.id for due in await world.lifecycles.list_due(now, 1)] == [first]
    rest = await world.lifecycles.list_due(now, 1, except_ids=[first])
    assert [due.id for due in rest] == [second]


async def test_the_upgrade_counts_what_people_have_as_used_when_it_was_built(
    world: PoolWorld,
) -> None:
    own, pooled = await world.own_workspace(), await world.ready_prebuild()
    await world.execute("UPDATE workspaces SET last_used_at = NULL")
    (upgrade,) = (each for each in list_migrations() if each.name == "0003_pre_lifecycle")
    *_, backfill, _ = upgrade.sql.split(";")
    world.clock.advance(3600)
    await world.execute(backfill)
    rows = await world.fetch("SELECT id, last_used_at, latest_build_created_at FROM workspaces")
    built_at = {row["id"]: row["latest_build_created_at"] for row in rows}
    assert {row["id"]: row["last_used_at"] for row in rows} == {own: built_at[own], pooled: None}
