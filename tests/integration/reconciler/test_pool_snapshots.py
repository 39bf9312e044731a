"""What a pass reads of pools: the members its plan may name, and how many there are beside them."""

from __future__ import annotations

import random
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from reconciler.core.pools import MemberRow, PoolSettings, plan, read_figures
from testkit.counted_members import count_alike
from testkit.pool_world import PoolWorld

pytestmark = pytest.mark.integration

MEMBERS = 24
ODDITIES = (
    "UPDATE workspaces SET invalidated_at = now() WHERE id = $1",
    "UPDATE workspaces SET latest_template_version_id = (SELECT id FROM template_versions"
    " WHERE name = 'v2') WHERE id = $1",
    "UPDATE workspaces SET latest_transition = 'stop' WHERE id = $1",
    "UPDATE workspaces SET latest_job_status = 'failed' WHERE id = $1",
    "UPDATE agents SET lifecycle = 'starting' WHERE workspace_id = $1",
    "UPDATE agents SET deleted_at = now() WHERE workspace_id = $1",
    "UPDATE workspaces SET preset_id = NULL WHERE id = $1",
)


AT_REST = ODDITIES[2:4]
"""Those that leave every started member ready."""


async def make_pools(
    world: PoolWorld, dice: random.Random, oddities: tuple[str, ...] = ODDITIES
) -> None:
    """Members of all sorts, most of them ready, spread over three pools: one of which members
    expire, and one whose version is not active.
    """
    outdated, expiring = uuid4(), uuid4()
    async with world.database.read() as connection:
        version = uuid4()
        await world.add_version(version, "v2", connection)
        await world.add_preset(outdated, "standard", 2, connection, version_id=version)
        await world.add_preset(expiring, "expiring", 4, connection, ttl_seconds=3600)
    started_at = world.clock.now()
    for number in range(MEMBERS):
        workspace_id = await world.ready_prebuild()
        preset_id = dice.choice((world.preset_id, outdated, expiring))
        await world.execute(
            "UPDATE workspaces SET preset_id = $2, latest_template_version_id ="
            " (SELECT template_version_id FROM presets WHERE id = $2), created_at = $3"
            " WHERE id = $1",
            workspace_id,
            preset_id,
            started_at.replace(hour=number // 2),
        )
        if dice.random() < 0.3:
            await world.execute(dice.choice(oddities), workspace_id)
    world.clock.advance(13.5 * 3600)
    await world.execute("UPDATE agents SET last_seen_at = $1", world.clock.now())


@pytest.mark.parametrize("oddities", [ODDITIES, AT_REST], ids=["all", "at-rest"])
@pytest.mark.parametrize("seed", range(3))
async def test_a_pass_reads_what_it_may_name_and_counts_the_rest(
    world: PoolWorld, seed: int, oddities: tuple[str, ...]
) -> None:
    await make_pools(world, random.Random(seed), oddities)
    now = world.clock.now()
    whole = await world.pools.load_snapshot(now)
    assert len(whole.members) == MEMBERS
    counted = await world.pools.load_snapshot(now, is_counted=True)
    assert read_figures(counted, PoolSettings()) == read_figures(whole, PoolSettings())
    assert len(counted.members) < len(whole.members)
    for deletions_max in (0, 2, 50):
        snapshot = await world.pools.load_for_pass(now, deletions_max=deletions_max)
        expected = count_alike(whole, deletions_max)
        assert snapshot.resting == ()
        assert by_id(snapshot.members) == by_id(expected.members)
        assert set(snapshot.counted) == set(expected.counted)
        policy = PoolSettings(jobs_in_flight_max=deletions_max)
        assert plan(snapshot, policy) == plan(replace(whole, presets=snapshot.presets), policy)


def by_id(rows: tuple[MemberRow, ...]) -> dict[UUID, MemberRow]:
    return {row.workspace_id: row for row in rows}


async def test_of_a_large_pool_that_lacks_a_member_no_ready_one_is_read(world: PoolWorld) -> None:
    for _ in range(6):
        await world.ready_prebuild()
    await world.execute("UPDATE presets SET instances = 7")
    snapshot = await world.pools.load_for_pass(world.clock.now(), deletions_max=50)
    assert (snapshot.members, [group.count for group in snapshot.counted]) == ((), [6])
    # AND of one that has too many only those who may have to go
    await world.execute("UPDATE presets SET instances = 4")
    snapshot = await world.pools.load_for_pass(world.clock.now(), deletions_max=50)
    assert (len(snapshot.members), [group.count for group in snapshot.counted]) == (2, [4])
    whole = await world.pools.load_snapshot(world.clock.now())
    assert snapshot.members == whole.members[:2]
    assert snapshot.counted == count_alike(whole, 50).counted
