"""What a pass takes from everybody else: tasks, connections, and time only when it is due."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.pools import PoolSettings, concurrency_limit
from reconciler.loops.pool import REST_SECONDS, PassResult, PoolLoop
from reconciler.store.db import Connection, Database, open_database
from reconciler.store.pools import Pools
from reconciler.store.queries import load_queries
from svckit.nudge import Nudge
from testkit.eventually import eventually
from testkit.pool_world import PoolWorld, RecordedHints

pytestmark = pytest.mark.integration

TIMEOUT = timedelta(seconds=60)
SQL = load_queries("pools")
HOUR = timedelta(hours=1)


class CountingDatabase(Database):
    """Counts how often a connection is taken and how many are out at once."""

    def __init__(self, database: Database) -> None:
        super().__init__(database._pool, database.pool_max)
        self.taken = 0
        self.peak = 0

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection]:
        async with super().read() as connection:
            self.taken += 1
            self.peak = max(self.peak, self.in_use_count)
            yield connection


class Passes:
    """Results of passes, one after the other."""

    def __init__(self) -> None:
        self.results: asyncio.Queue[PassResult] = asyncio.Queue()

    def passed(self, result: PassResult) -> None:
        self.results.put_nowait(result)


def a_loop(
    world: PoolWorld,
    database: Database,
    *,
    settings: PoolSettings | None = None,
    nudge: Nudge | None = None,
    passes: Passes | None = None,
    tick_seconds: float = 15,
) -> PoolLoop:
    return PoolLoop(
        database,
        Pools(database, agent_timeout=TIMEOUT, failure_lookback=HOUR),
        RecordedHints(),
        nudge or Nudge(),
        world.clock,
        random.Random(7),
        uuid4,
        settings=settings or PoolSettings(),
        concurrency=concurrency_limit(database.pool_max),
        tick_seconds=tick_seconds,
        observer=passes,
    )


async def add_presets(world: PoolWorld, count: int, instances: int) -> None:
    async with world.database.read() as connection:
        for number in range(count):
            await world.add_preset(uuid4(), f"preset-{number}", instances, connection)


async def test_presets_without_work_take_no_task_and_no_connection(world: PoolWorld) -> None:
    await add_presets(world, 40, 0)
    for _ in range(2):
        await world.ready_prebuild()
    database = CountingDatabase(world.database)
    loop = a_loop(world, database)
    with counted_tasks() as tasks:
        result = await loop.run_once()
        assert (result.presets_total, result.presets_reconciled) == (41, 0)
        assert tasks.count("_Run.work") == 0
        assert (database.taken, database.peak) == (2, 2)  # the lock's and the snapshot's
        await world.execute("UPDATE presets SET instances = 1 WHERE name IN ('preset-7')")
        result = await loop.run_once()
        assert (result.presets_total, result.presets_reconciled, result.created) == (41, 1, 1)
        assert tasks.count("_Run.work") == 1
        assert (database.taken, database.peak) == (5, 2)


@contextmanager
def counted_tasks() -> Generator[list[str]]:
    """What runs in the tasks that the body makes."""
    names: list[str] = []

    def make(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        names.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    running = asyncio.get_running_loop()
    running.set_task_factory(make)  # pyright: ignore[reportArgumentType]  # generators are not used
    try:
        yield names
    finally:
        running.set_task_factory(None)


async def test_a_backoff_takes_no_connection(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    await world.create_prebuild()
    await world.fail(await world.acquire())
    database = CountingDatabase(world.database)
    result = await a_loop(world, database).run_once()
    assert (result.presets_reconciled, result.created, database.taken) == (1, 0, 2)


@pytest.mark.parametrize("pool_max", [4, 8, 16])
async def test_a_pass_never_takes_more_than_half_of_the_connections(
    world: PoolWorld, migrated_url: str, pool_max: int
) -> None:
    await add_presets(world, 20, 2)
    async with open_database(migrated_url, pool_max=pool_max) as opened:
        database = CountingDatabase(opened)
        loop = a_loop(world, database)
        result = await loop.run_once()
        assert loop.concurrency == pool_max // 2
        assert result.created == 42
        assert database.peak == loop.concurrency
        assert database.in_use_count == 0


def test_a_pass_may_use_half_of_the_configured_connections_and_at_least_one() -> None:
    assert [concurrency_limit(size) for size in (1, 2, 3, 4, 16, 500)] == [1, 1, 1, 2, 8, 250]


async def test_an_action_that_fails_blocks_no_other(world: PoolWorld) -> None:
    await add_presets(world, 3, 1)
    await world.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no more of these'; END $$"""
    )
    await world.execute(
        f"""CREATE TRIGGER refuse BEFORE INSERT ON workspaces FOR EACH ROW
        WHEN (NEW.preset_id = '{world.preset_id}') EXECUTE FUNCTION refuse()"""
    )
    result = await a_loop(world, world.database).run_once()
    assert (result.created, result.failed) == (3, 1)


async def test_the_loop_wakes_by_itself_when_a_backoff_ends(world: PoolWorld) -> None:
    await world.execute("UPDATE presets SET instances = 1")
    passes, nudge = Passes(), Nudge()
    settings = PoolSettings(backoff_interval_seconds=0.4)
    loop = a_loop(
        world, world.database, settings=settings, nudge=nudge, passes=passes, tick_seconds=3600
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        assert (await passes.results.get()).created == 1
        await world.fail(await world.acquire())
        nudge.set()
        await eventually(lambda: _assert_sleeping(world))
        world.clock.advance(REST_SECONDS)
        assert (await passes.results.get()).created == 0
        world.clock.advance(0.4)
        assert (await passes.results.get()).created == 1
        running.cancel()


async def test_a_burst_of_hints_is_one_pass(world: PoolWorld) -> None:
    passes, nudge = Passes(), Nudge()
    loop = a_loop(world, world.database, nudge=nudge, passes=passes, tick_seconds=3600)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        assert (await passes.results.get()).created == 2
        nudge.set()
        await eventually(lambda: _assert_sleeping(world))
        for _ in range(5):
            nudge.set()
        world.clock.advance(REST_SECONDS)
        await passes.results.get()
        for _ in range(10):
            await asyncio.sleep(0)
        assert world.clock.sleeping == 0  # a hint that was left would have begun the next debounce
        assert passes.results.empty()
        running.cancel()


async def test_a_lone_hint_is_heeded_at_once_and_a_stream_of_them_four_times_a_second(
    world: PoolWorld,
) -> None:
    passes, nudge = Passes(), Nudge()
    loop = a_loop(world, world.database, nudge=nudge, passes=passes, tick_seconds=3600)

    async def wait_seconds() -> float:
        """How long after a hint the pass that serves it begins."""
        nudge.set()
        await eventually(lambda: _assert_sleeping(world))
        waited = 0.0
        while world.clock.sleeping:
            world.clock.advance(0.05)
            waited += 0.05
            await asyncio.sleep(0)
        await passes.results.get()
        return round(waited, 2)

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        await passes.results.get()
        world.clock.advance(1)
        assert [await wait_seconds() for _ in range(3)] == [0.05, 0.25, 0.25]
        running.cancel()


def _assert_sleeping(world: PoolWorld) -> None:
    assert world.clock.sleeping == 1


async def test_the_agents_of_peoples_workspaces_cost_a_pass_nothing(world: PoolWorld) -> None:
    for _ in range(3):
        await world.own_workspace()
    await world.ready_prebuild()
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL.load_totals}"
    (row,) = await world.fetch(explain, SYSTEM_USER_ID, world.clock.now() - TIMEOUT)
    (top,) = json.loads(str(row["QUERY PLAN"]))
    summed_up = [
        below["Actual Rows"]
        for node in every_node(top["Plan"])
        if "workspace_id" in str(node.get("Group Key"))
        for below in node["Plans"]
    ]
    assert summed_up == [1]


def every_node(plan: dict[str, Any]) -> Generator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from every_node(below)
