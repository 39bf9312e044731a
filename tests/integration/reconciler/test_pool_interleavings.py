"""Passes and everything else at once on a real database, by seed: what is claimed is left alone,
and once it is quiet every pool has what it wants.
"""

from __future__ import annotations

import asyncio
import random
from uuid import UUID, uuid4

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.pools import PoolSettings
from reconciler.loops.pool import PoolLoop
from svckit.nudge import Nudge
from testkit.pool_world import PoolWorld, RecordedHints

pytestmark = pytest.mark.integration

ROUNDS = 12
LIVING = """
SELECT preset_id, latest_transition || ' ' || latest_job_status AS standing, count(*)
FROM workspaces WHERE owner_id = $1 AND deleted_at IS NULL GROUP BY 1, 2"""


class Story:
    """One seed's: a few things at once in every round, passes among them."""

    def __init__(self, world: PoolWorld, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.desired = 2
        self.versions = 1
        self.claimed: dict[UUID, UUID] = {}

    async def run(self) -> None:
        for _ in range(ROUNDS):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.run_pass())
                for act in self.dice.choices(
                    [self.run_pass, self.claim, self.work, self.work, self.promote, self.resize],
                    k=4,
                ):
                    tasks.create_task(act())
            self.world.clock.advance(self.dice.choice([1, 61, 601, 1801]))
            await self.check_claims()
        await self.settle()

    async def run_pass(self) -> None:
        loop = PoolLoop(
            self.world.database,
            self.world.pools,
            RecordedHints(),
            Nudge(),
            self.world.clock,
            self.dice,
            uuid4,
            settings=PoolSettings(failure_hard_limit=0, backoff_interval_seconds=1),
            concurrency=2,
            tick_seconds=15,
        )
        result = await loop.run_once()
        assert result.failed == 0

    async def claim(self) -> None:
        workspace_id = await self.world.claim()
        if workspace_id is not None:
            assert workspace_id not in self.claimed
            self.claimed[workspace_id] = self.world.ada

    async def work(self, *, always_well: bool = False) -> bool:
        world = self.world
        job = await world.queue.acquire(world.worker, world.clock.now())
        if job is None or job.build is None:
            return False
        if not always_well and self.dice.random() < 0.3:
            await world.fail(job)
        else:
            await world.complete(job)
            if job.build.transition == "start":
                await world.make_ready(job.build.workspace_id)
        return True

    async def promote(self) -> None:
        self.versions += 1
        version, preset, name = uuid4(), uuid4(), f"v{self.versions}"
        async with self.world.database.read() as connection, connection.transaction():
            await self.world.add_version(version, name, connection)
            await self.world.add_preset(
                preset, "standard", self.desired, connection, version_id=version
            )
            await self.world.promote(version, connection)
        self.world.version_id, self.world.preset_id = version, preset

    async def resize(self) -> None:
        self.desired = self.dice.randint(0, 4)
        await self.world.execute("UPDATE presets SET instances = $1", self.desired)

    async def check_claims(self) -> None:
        rows = await self.world.fetch(
            "SELECT id, owner_id, deleted_at FROM workspaces WHERE owner_id <> $1", SYSTEM_USER_ID
        )
        assert {row["id"]: row["owner_id"] for row in rows} == self.claimed
        assert {row["deleted_at"] for row in rows} <= {None}
        deletions = await self.world.fetch(
            "SELECT b.workspace_id FROM workspace_builds b JOIN claims c USING (workspace_id)"
            " WHERE b.transition = 'delete'"
        )
        assert deletions == []

    async def settle(self) -> None:
        world = self.world
        await world.execute("UPDATE presets SET instances = $1", self.desired)
        ((active,),) = [
            tuple(row.values())
            for row in await world.fetch(
                "SELECT p.id FROM presets p JOIN templates t"
                " ON t.active_version_id = p.template_version_id"
            )
        ]
        for _ in range(20):
            await self.run_pass()
            while await self.work(always_well=True):
                pass
            await self.keep_agents()
            world.clock.advance(61)
        await self.keep_agents()
        living = {
            (row["preset_id"], row["standing"]): row["count"]
            for row in await world.fetch(LIVING, SYSTEM_USER_ID)
        }
        evidence = living.pop((active, "start failed"), 0)
        expected = {(active, "start succeeded"): self.desired} if self.desired else {}
        assert (living, evidence in (0, 1)) == (expected, True)
        await self.check_claims()

    async def keep_agents(self) -> None:
        """Agents of what runs are heard of."""
        for row in await self.world.fetch(
            "SELECT id FROM workspaces WHERE deleted_at IS NULL"
            " AND latest_transition = 'start' AND latest_job_status = 'succeeded'"
        ):
            await self.world.make_ready(UUID(str(row["id"])))


@pytest.mark.parametrize("seed", range(6))
async def test_interleavings(world: PoolWorld, seed: int) -> None:
    try:
        await Story(world, seed).run()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
