"""Two changes of one row at once, in both orders. The first has done all but its commit when the
second begins, which then waits for it or passes it by: the most that they can be in each other's
way. Who has claimed keeps the workspace, who has a job keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from reconciler.core.pools import DeleteReason
from reconciler.store.claims import WorkspaceMaker
from reconciler.store.db import Connection, Database
from reconciler.store.gateway import Agents, ReinitStep
from reconciler.store.jobs import JobQueue
from reconciler.store.pools import Pools
from testkit.eventually import eventually
from testkit.pool_world import AGENT_TIMEOUT, PoolWorld, new_ids, token_hash

pytestmark = pytest.mark.integration

T = TypeVar("T")


class HeldDatabase(Database):
    """Stops every change when all of it is done but the commit."""

    def __init__(self, database: Database) -> None:
        super().__init__(database._pool, database.pool_max)
        self.done = asyncio.Event()
        self.gate = asyncio.Event()

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def hold(connection: Connection) -> T:
            result = await work(connection)
            self.done.set()
            await self.gate.wait()
            return result

        return await super().transact(hold)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection]:
        """Where one statement is a change, it commits by itself; here it is held before that."""
        async with super().read() as connection, connection.transaction():
            yield connection
            self.done.set()
            await self.gate.wait()


class Sides:
    """The one who is first, and holds its locks, and the one who comes second."""

    def __init__(self, world: PoolWorld) -> None:
        self.world = world
        self.held = HeldDatabase(world.database)
        self.held_pools = Pools(
            self.held, agent_timeout=AGENT_TIMEOUT, failure_lookback=AGENT_TIMEOUT
        )

    @asynccontextmanager
    async def first(self, change: Awaitable[T]) -> AsyncGenerator[asyncio.Task[T]]:
        """Within the body, the change has done all but its commit; then it commits."""
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(_await(change))
            await self.held.done.wait()
            try:
                yield task
            finally:
                self.held.gate.set()

    async def second_that_waits(self, change: Awaitable[T]) -> T:
        """A change that has to wait for the first one, which then commits."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(_await(change))
            await eventually(self._assert_waiting)
            assert not task.done()
            self.held.gate.set()
        return task.result()

    async def _assert_waiting(self) -> None:
        rows = await self.world.fetch(
            "SELECT 1 AS one FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        assert len(rows) == 1


@pytest.fixture
def sides(world: PoolWorld) -> Sides:
    return Sides(world)


async def _await(change: Awaitable[T]) -> T:
    return await change


async def deletions(world: PoolWorld) -> int:
    rows = await world.fetch("SELECT 1 AS one FROM workspace_builds WHERE transition = 'delete'")
    return len(rows)


def delete(world: PoolWorld, pools: Pools, workspace_id: UUID, reason: str) -> Awaitable[object]:
    return pools.delete_prebuild(workspace_id, reason, new_ids(), world.clock.now())


REASONS = [DeleteReason.EXTRANEOUS, DeleteReason.NEVER_READY, DeleteReason.LOST]


@pytest.mark.parametrize("reason", REASONS)
async def test_a_claim_passes_by_what_is_being_deleted(
    world: PoolWorld, sides: Sides, reason: DeleteReason
) -> None:
    first = await world.ready_prebuild()
    world.clock.advance(1)
    second = await world.ready_prebuild()
    change = delete(world, sides.held_pools, first, reason.value)
    async with sides.first(change) as deleting:
        assert await world.claim() == second
        assert await world.claim() is None
    assert deleting.result() is not None
    assert await world.is_in_pool(first)
    assert await world.owner_of(second) == world.ada


@pytest.mark.parametrize("reason", REASONS)
async def test_a_deletion_waits_for_a_claim_and_then_leaves_it_alone(
    world: PoolWorld, sides: Sides, reason: DeleteReason
) -> None:
    workspace_id = await world.ready_prebuild()
    maker = WorkspaceMaker(sides.held, agent_timeout=AGENT_TIMEOUT)
    claim = maker.claim(world.wanted(), new_ids(), world.clock.now())
    async with sides.first(claim) as claiming:
        change = delete(world, world.pools, workspace_id, reason.value)
        assert await sides.second_that_waits(change) is None
    claimed = claiming.result()
    assert claimed is not None
    assert claimed.view.id == workspace_id
    assert (await world.owner_of(workspace_id), await deletions(world)) == (world.ada, 0)


async def test_a_cancellation_passes_by_what_a_worker_takes(world: PoolWorld, sides: Sides) -> None:
    workspace_id = await world.create_prebuild()
    taking = JobQueue(sides.held).acquire(world.worker, world.clock.now())
    async with sides.first(taking) as taken:
        assert await world.pools.cancel_creations([workspace_id], world.clock.now()) == 0
    job = taken.result()
    assert job is not None
    assert await world.complete(job) is not None


async def test_a_worker_passes_by_what_is_being_cancelled(world: PoolWorld, sides: Sides) -> None:
    workspace_id = await world.create_prebuild()
    change = sides.held_pools.cancel_creations([workspace_id], world.clock.now())
    async with sides.first(change) as cancelling:
        assert await world.queue.acquire(world.worker, world.clock.now()) is None
    assert cancelling.result() == 1
    assert await world.queue.acquire(world.worker, world.clock.now()) is None


async def test_the_job_of_a_claim_is_never_cancelled_by_the_pool(
    world: PoolWorld, sides: Sides
) -> None:
    workspace_id = await world.ready_prebuild()
    maker = WorkspaceMaker(sides.held, agent_timeout=AGENT_TIMEOUT)
    claim = maker.claim(world.wanted(), new_ids(), world.clock.now())
    async with sides.first(claim):
        assert await world.pools.cancel_creations([workspace_id], world.clock.now()) == 0
    assert await world.pools.cancel_creations([workspace_id], world.clock.now()) == 0
    job = await world.acquire()
    assert (job.workspace_id, job.build is not None) == (workspace_id, True)


ENDS = [
    "UPDATE templates SET active_version_id = NULL WHERE id = $1",
    "UPDATE templates SET deleted_at = now() WHERE id = $1",
]
"""What a promotion and a deletion do to the row that creations hold on to."""


@pytest.mark.parametrize("end", ENDS, ids=["promotion", "deletion"])
async def test_a_version_that_ends_waits_for_a_creation_under_way(
    world: PoolWorld, sides: Sides, end: str
) -> None:
    ids = new_ids()
    create = sides.held_pools.create_prebuild(world.preset_id, ids, "prebuild-a", world.clock.now())
    async with sides.first(create) as creating:
        await sides.second_that_waits(world.execute(end, world.template_id))
    assert creating.result() is not None
    snapshot = await world.pools.load_snapshot(world.clock.now())
    assert [(preset.is_active, len(snapshot.members)) for preset in snapshot.presets] == [
        (False, 1)
    ]


@pytest.mark.parametrize("end", ENDS, ids=["promotion", "deletion"])
async def test_a_creation_waits_for_the_end_of_its_version_and_makes_nothing(
    world: PoolWorld, sides: Sides, end: str
) -> None:
    async def finish(connection: Connection) -> None:
        await connection.execute(end, world.template_id)

    create = world.pools.create_prebuild(
        world.preset_id, new_ids(), "prebuild-a", world.clock.now()
    )
    async with sides.first(sides.held.transact(finish)):
        assert await sides.second_that_waits(create) is None
    assert await world.fetch("SELECT id FROM workspaces") == []


async def test_a_claim_is_applied_once_both_agents_say_so_at_the_same_moment(
    world: PoolWorld, sides: Sides
) -> None:
    """Each has said it through a gateway of its own, before the other's word was committed."""
    workspace_id = await world.own_workspace()
    await world.execute(
        "INSERT INTO agents (id, workspace_id, name, token_hash, manifest, created_at)"
        " SELECT $2, workspace_id, 'second', $3, manifest, created_at FROM agents"
        " WHERE workspace_id = $1",
        workspace_id,
        uuid4(),
        b"s" * 32,
    )
    (claim,) = await world.fetch("SELECT id FROM claims")
    claim_id = claim["id"]
    assert isinstance(claim_id, UUID)

    def applied(token: bytes) -> list[ReinitStep]:
        now = world.clock.now()
        return [ReinitStep(token_hash=token, claim_id=claim_id, step="applied", at=now, error="")]

    held_agents = Agents(sides.held, world.cipher, agent_timeout=AGENT_TIMEOUT)
    first = held_agents.record_reinits(applied(token_hash(workspace_id)))
    async with sides.first(first) as telling:
        # whoever commits first sees its own word alone
        _, (moved,) = await world.agents.record_reinits(applied(b"s" * 32))
        assert moved.applied_at is None
    _, (moved,) = telling.result()
    assert moved.applied_at == world.clock.now()


async def test_the_pool_joins_an_organization_once_however_many_try(world: PoolWorld) -> None:
    organization = uuid4()
    await world.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES ($1, 'research', now())",
        organization,
    )
    async with asyncio.TaskGroup() as tasks:
        joining = [
            tasks.create_task(world.pools.join_organizations([organization], world.clock.now()))
            for _ in range(4)
        ]
    assert sorted(each.result() for each in joining) == [0, 0, 0, 1]
    rows = await world.fetch(
        "SELECT roles FROM organization_members WHERE organization_id = $1", organization
    )
    assert rows == [{"roles": []}]
