"""What starts a pass. The tick is an hour, so a pass that follows a deed was started by the deed.
It waits for the debounce first, so that a burst is one pass.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from bus.memory import MemoryBus
from reconciler.core.permissions import ServicePrincipal
from reconciler.core.pools import PoolSettings
from reconciler.loops.hints import BusHints
from reconciler.loops.listen import listen
from reconciler.loops.pool import REST_SECONDS, PassResult, PoolLoop
from reconciler.rpc.gateway import GatewayServicer
from reconciler.rpc.provisioner import ProvisionerServicer, ProvisionerSettings
from svckit.auth import current_principal
from testkit.eventually import eventually
from testkit.office import Office, serve_office
from testkit.pool_world import PoolWorld, token_hash
from warmpool.control.v1 import pools_pb2, templates_pb2, workspaces_pb2
from warmpool.gateway.v1 import gateway_pb2
from warmpool.provisioner.v1 import provisioner_pb2

pytestmark = pytest.mark.integration

TICK_SECONDS = 3600


class Passes:
    """Results of passes, one after the other."""

    def __init__(self, world: PoolWorld) -> None:
        self._world = world
        self._results: asyncio.Queue[PassResult] = asyncio.Queue()

    def passed(self, result: PassResult) -> None:
        self._results.put_nowait(result)

    async def next(self) -> tuple[int, int]:
        """What the next pass creates and deletes."""
        result = await self._results.get()
        return result.created, result.deleted

    async def next_after_debounce(self) -> tuple[int, int]:
        """The same, of a pass that begins when the debounce is over and not before."""
        await eventually(self._assert_debounced)
        assert self._results.empty()
        self._world.clock.advance(REST_SECONDS)
        return await self.next()

    def _assert_debounced(self) -> None:
        assert self._world.clock.sleeping == 1


@asynccontextmanager
async def a_loop(world: PoolWorld, hints: BusHints) -> AsyncGenerator[Passes]:
    """A pool loop that is nudged by these hints and ticks every hour."""
    passes = Passes(world)
    loop = PoolLoop(
        world.database,
        world.pools,
        hints,
        hints.pool,
        world.clock,
        random.Random(7),
        uuid4,
        settings=PoolSettings(backoff_interval_seconds=0),
        concurrency=2,
        tick_seconds=TICK_SECONDS,
        observer=passes,
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        try:
            yield passes
        finally:
            running.cancel()


async def fill(world: PoolWorld) -> None:
    for _ in range(2):
        await world.ready_prebuild()


async def claim(world: PoolWorld, office: Office) -> None:
    request = workspaces_pb2.CreateWorkspaceRequest(template="dev", preset="standard")
    answer = await (await office.calling()).workspaces.CreateWorkspace(request)
    assert answer.warm


async def fail_a_job(world: PoolWorld, office: Office) -> None:
    job = await world.acquire()
    servicer = ProvisionerServicer(
        world.queue,
        world.tfstates,
        world.ends,
        office.hints,
        office.hints,
        world.clock,
        ProvisionerSettings(access_url=""),
        asyncio.Event(),
    )
    principal = ServicePrincipal(kind="provisioner", key_id=world.worker.key_id)
    reset = current_principal.set(principal)
    try:
        ref = provisioner_pb2.JobRef(job_id=str(job.id), attempt=job.attempt)
        request = provisioner_pb2.FailJobRequest(ref=ref, error="no", reason="PROVISIONER")
        await servicer.FailJob(request, None)
    finally:
        current_principal.reset(reset)


async def promote(world: PoolWorld, office: Office) -> None:
    version = uuid4()
    async with world.database.read() as connection:
        await world.add_version(version, "v2", connection)
        await world.add_preset(uuid4(), "standard", 1, connection, version_id=version)
    request = templates_pb2.PromoteTemplateVersionRequest(template="dev", version="v2")
    await (await office.calling()).templates.PromoteTemplateVersion(request)


async def delete_template(world: PoolWorld, office: Office) -> None:
    request = templates_pb2.DeleteTemplateRequest(template="dev")
    await (await office.calling()).templates.DeleteTemplate(request)


async def invalidate(world: PoolWorld, office: Office) -> None:
    request = pools_pb2.InvalidatePoolRequest(template="dev")
    await (await office.calling()).pools.InvalidatePool(request)


async def lose_an_agent(world: PoolWorld, office: Office) -> None:
    """One of two agents goes; the other one is said to be there after ten minutes."""
    rows = await world.fetch("SELECT id FROM workspaces ORDER BY id")
    first, second = (token_hash(UUID(str(row["id"]))) for row in rows)
    gateway = GatewayServicer(world.agents, office.hints, world.clock)
    now = world.clock.now()
    await world.agents.record_liveness([first], [second], now)
    for _ in range(21):
        world.clock.advance(30)
        await world.agents.record_liveness([first], [], world.clock.now())
    await gateway.RecordLiveness(gateway_pb2.RecordLivenessRequest(disconnected=[first]), None)


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        (claim, (1, 0)),
        (promote, (1, 2)),
        (delete_template, (0, 2)),
        (invalidate, (2, 2)),
        (lose_an_agent, (1, 1)),
    ],
)
async def test_a_deed_starts_a_pass(
    world: PoolWorld,
    deed: Callable[[PoolWorld, Office], Awaitable[None]],
    expected: tuple[int, int],
) -> None:
    await fill(world)
    async with serve_office(world) as office, a_loop(world, office.hints) as passes:
        assert await passes.next() == (0, 0)
        await deed(world, office)
        assert await passes.next_after_debounce() == expected


async def test_the_end_of_a_job_starts_a_pass(world: PoolWorld) -> None:
    await world.create_prebuild()
    await world.create_prebuild()
    async with serve_office(world) as office, a_loop(world, office.hints) as passes:
        assert await passes.next() == (0, 0)
        await fail_a_job(world, office)
        assert await passes.next_after_debounce() == (1, 0)


@pytest.mark.parametrize("template", ["", "dev"])
async def test_lifting_a_pause_starts_a_pass(world: PoolWorld, template: str) -> None:
    async with serve_office(world) as office:
        pools = (await office.calling()).pools
        await pools.SetPoolPaused(pools_pb2.SetPoolPausedRequest(template=template, paused=True))
        async with a_loop(world, office.hints) as passes:
            assert await passes.next() == (0, 0)
            await pools.SetPoolPaused(pools_pb2.SetPoolPausedRequest(template=template))
            assert await passes.next_after_debounce() == (2, 0)


async def test_resuming_a_stopped_pool_starts_a_pass(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET health = 'hard_limited'")
    async with serve_office(world) as office, a_loop(world, office.hints) as passes:
        assert await passes.next() == (0, 0)
        request = pools_pb2.ResumePoolRequest(template="dev", preset="standard")
        await (await office.calling()).pools.ResumePool(request)
        assert await passes.next_after_debounce() == (1, 0)


async def test_a_deed_at_another_replica_starts_a_pass_here(world: PoolWorld) -> None:
    await fill(world)
    bus = MemoryBus()
    here, there = BusHints(bus), BusHints(bus)
    async with a_loop(world, here) as passes, asyncio.TaskGroup() as tasks:
        others = [
            tasks.create_task(listen(bus, here, world.clock)),
            tasks.create_task(there.run()),
        ]
        assert await passes.next() == (0, 0)
        assert await world.claim() is not None
        there.pool_changed(world.preset_id, "claimed")
        assert await passes.next_after_debounce() == (1, 0)
        for other in others:
            other.cancel()


@pytest.mark.parametrize(
    ("opens", "created", "deleted"), [("* 9 * * *", 3, 0), ("* 8 * * *", 0, 2)]
)
async def test_the_next_boundary_of_a_schedule_starts_a_pass_by_itself(
    world: PoolWorld, opens: str, created: int, deleted: int
) -> None:
    """At nine the pool grows from two to five, or shrinks from two to none."""
    await fill(world)
    closed, open_ = (2, 5) if created else (0, 2)
    await world.execute(
        "UPDATE presets SET instances = $1, timezone = 'Europe/Berlin', schedules ="
        " jsonb_build_array(jsonb_build_object('cron', $2::text, 'instances', $3::integer))",
        closed,
        opens,
        open_,
    )
    world.clock.set(datetime(2027, 3, 1, 7, 59, 59, 800_000, tzinfo=UTC))
    await world.execute("UPDATE workspaces SET created_at = $1", world.clock.now())
    for row in await world.fetch("SELECT id FROM workspaces"):
        await world.make_ready(UUID(str(row["id"])))
    async with a_loop(world, BusHints(MemoryBus())) as passes:
        assert await passes.next() == (0, 0)
        world.clock.advance(0.2)
        assert await passes.next() == (created, deleted)


async def test_a_pass_that_did_something_is_one_line_and_one_that_did_nothing_is_none(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serve_office(world) as office, a_loop(world, office.hints) as passes:
        assert await passes.next() == (2, 0)
        office.hints.wake_pool()
        assert await passes.next_after_debounce() == (0, 0)
    (line,) = [r for r in caplog.records if r.name == "reconciler.loops.pool"]
    fields = vars(line)["warmpool_fields"]
    assert line.message == "pools were reconciled"
    assert fields.pop("elapsed_seconds") >= 0
    assert fields == {
        "presets_total": 1,
        "presets_reconciled": 1,
        "created": 2,
        "deleted": 0,
        "cancelled": 0,
        "failed": 0,
    }
