"""What operators are answered about pools that have stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from bus.memory import MemoryBus
from reconciler.core.permissions import UserPrincipal
from reconciler.core.pools import PoolHealth, PoolSettings
from reconciler.loops.hints import BusHints
from reconciler.rpc.pools import PoolServicer
from svckit.auth import current_principal
from svckit.errors import FailedPrecondition, InvalidArgument
from testkit.pool_world import PoolWorld, RecordedHints, new_ids
from warmpool.control.v1 import pools_pb2 as pb
from warmpool.control.v1.templates_pb2 import Schedule

pytestmark = pytest.mark.integration

REQUEST = pb.ResumePoolRequest(template="dev", preset="standard")


@pytest.fixture
def owner(world: PoolWorld) -> Generator[None]:
    """Ada, as an owner, makes the calls."""
    token = current_principal.set(
        UserPrincipal(
            user_id=world.ada,
            username="ada",
            roles=frozenset({"owner"}),
            organization_roles={},
        )
    )
    yield
    current_principal.reset(token)


def a_servicer(world: PoolWorld, hints: RecordedHints) -> PoolServicer:
    return PoolServicer(
        world.pools,
        hints,
        BusHints(MemoryBus()),
        world.clock,
        uuid4,
        PoolSettings(),
        asyncio.Event(),
    )


@pytest.mark.usefixtures("owner")
async def test_a_pool_at_its_limit_is_resumed_and_stays_limited_until_the_probe(
    world: PoolWorld,
) -> None:
    await world.execute("UPDATE presets SET health = 'hard_limited'")
    hints = RecordedHints()
    answer = await a_servicer(world, hints).ResumePool(REQUEST, None)
    assert answer.pool.health == pb.POOL_HEALTH_HARD_LIMITED
    assert hints.said == [("pool_changed:resumed", world.preset_id)]
    assert await world.fetch("SELECT resumed_at FROM presets") == [
        {"resumed_at": world.clock.now()}
    ]


@pytest.mark.usefixtures("owner")
async def test_what_validation_refused_is_not_resumed(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET health = 'validation_failed'")
    hints = RecordedHints()
    with pytest.raises(FailedPrecondition, match="push a version that mends it"):
        await a_servicer(world, hints).ResumePool(REQUEST, None)
    assert hints.said == []
    assert await world.fetch("SELECT health, resumed_at FROM presets") == [
        {"health": "validation_failed", "resumed_at": None}
    ]


@pytest.mark.usefixtures("owner")
async def test_a_pool_says_why_it_is_not_full(world: PoolWorld) -> None:
    servicer, now = a_servicer(world, RecordedHints()), world.clock.now()

    async def pool() -> pb.Pool:
        (found,) = (await servicer.ListPools(pb.ListPoolsRequest(), None)).pools
        return found

    before = await pool()
    assert (before.paused_by, before.stop_reason, before.schedule_error) == ("", "", "")
    await world.execute(
        """UPDATE presets SET schedules = '[{"cron": "* 25 * * *", "instances": 1}]'"""
    )
    await world.pools.set_preset_paused(world.template_id, "", True, world.ada, now)
    await world.pools.mark_health(
        world.preset_id, PoolHealth.HARD_LIMITED, message="it broke", now=now
    )
    shown = await pool()
    assert (shown.paused_by, shown.paused_at.ToDatetime(tzinfo=UTC)) == ("ada", now)
    assert (shown.stop_reason, shown.HasField("resumed_at")) == ("it broke", False)
    assert shown.schedule_error.startswith('cron is "* 25 * * *"')
    await world.pools.set_preset_paused(world.template_id, "standard", False, world.ada, now)
    await world.pools.resume(world.preset_id, now)
    assert (await pool()).HasField("resumed_at")
    await world.pools.mark_health(world.preset_id, PoolHealth.HEALTHY, message="", now=now)
    after = await pool()
    assert (after.paused_by, after.stop_reason, after.health) == (
        "",
        "",
        pb.POOL_HEALTH_HEALTHY,
    )


@pytest.mark.usefixtures("owner")
async def test_a_deletion_that_failed_is_shown(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    await world.pools.delete_prebuild(workspace_id, "extraneous", new_ids(), world.clock.now())
    await world.fail(await world.acquire())
    servicer = a_servicer(world, RecordedHints())
    (pool,) = (await servicer.ListPools(pb.ListPoolsRequest(), None)).pools
    assert (pool.deleting, pool.delete_failed, pool.eligible) == (1, 1, 0)


async def test_a_schedule_is_explained_across_a_change_of_the_clocks(world: PoolWorld) -> None:
    world.clock.set(datetime(2027, 3, 26, 12, tzinfo=UTC))
    request = pb.ExplainScheduleRequest(
        schedules=[Schedule(cron="* 1-3 * * 0", instances=5)],
        timezone="Europe/Berlin",
        instances=1,
        windows=2,
    )
    answer = await a_servicer(world, RecordedHints()).ExplainSchedule(request, None)
    windows = [
        (w.starts_at.ToDatetime(tzinfo=UTC), w.ends_at.ToDatetime(tzinfo=UTC), w.instances)
        for w in answer.windows
    ]
    assert answer.desired_now == 1
    opens, closes = (datetime(2027, 3, 28, hour, tzinfo=UTC) for hour in (0, 2))
    assert windows == [(world.clock.now(), opens, 1), (opens, closes, 5)]
    assert [bool(window.note) for window in answer.windows] == [False, True]


async def test_schedules_that_overlap_are_refused_with_the_clash(world: PoolWorld) -> None:
    request = pb.ExplainScheduleRequest(
        schedules=[
            Schedule(cron="* 8-18 * * 1-5", instances=5),
            Schedule(cron="* 18-20 1 * *", instances=2),
        ]
    )
    with pytest.raises(InvalidArgument, match="are both open on") as raised:
        await a_servicer(world, RecordedHints()).ExplainSchedule(request, None)
    assert (raised.value.reason, raised.value.field) == ("SCHEDULE_INVALID", "schedules")
