"""What a pass over all pools costs beside its SQL alone.

*NoOps*: every pool is at rest. *Mix*: one pool in a hundred has a member to replace. *Contention*:
every pool has, and people read from the same few connections meanwhile. The floor is the pass' own
SQL alone, on a copy of the same database: its reads in one transaction whose rows are thrown away,
then the statements of its changes, each change in a transaction, on as many connections.
`all_rows_ms` is what reading every member's row would take, which a pass does not do. Prints a
table and writes bench-results/reconcile.json; asserts counts and no time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from uuid import UUID, uuid4

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.pools import PoolSettings, concurrency_limit
from reconciler.loops.pool import PoolLoop
from reconciler.store.db import Connection, Database, open_database
from reconciler.store.migrate import migrate
from reconciler.store.pool_snapshots import LOSSES_COUNT_FOR
from reconciler.store.pools import Pools
from reconciler.store.queries import load_queries
from svckit.nudge import Nudge
from testkit.clock import SettableClock
from testkit.pool_crowd import MEMBERS_PER_PRESET, disturb, install_crowd
from testkit.pool_world import RecordedHints
from testkit.postgres import DatabaseFactory, PostgresServer

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

RESULTS = Path(__file__).parents[2] / "bench-results"
ROUNDS = 7
TIMEOUT = timedelta(seconds=60)
LOOKBACK = timedelta(hours=1)
SETTINGS = PoolSettings(jobs_in_flight_max=100_000)
SQL = load_queries("pools")
BUILDS = load_queries("builds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; times are medians in milliseconds. `stall_ms` is the longest time
    during which the event loop did nothing else.
    """

    scenario: str
    presets: int
    members: int
    reconciled: int
    actions: int
    connections_peak: int
    pass_ms: float
    sql_ms: float
    ratio: float
    all_rows_ms: float
    stall_ms: float
    read_p50_ms: float = 0.0
    read_max_ms: float = 0.0


class WatchedDatabase(Database):
    """Notes how many connections are out at once."""

    def __init__(self, database: Database) -> None:
        super().__init__(database._pool, database.pool_max)
        self.peak = 0

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection]:
        async with super().read() as connection:
            self.peak = max(self.peak, self.in_use_count)
            yield connection


class Installation:
    """A crowd of pools and the loop over them."""

    def __init__(self, database: Database) -> None:
        self.clock = SettableClock()
        self.database = WatchedDatabase(database)
        self.loop = PoolLoop(
            self.database,
            Pools(self.database, agent_timeout=TIMEOUT, failure_lookback=LOOKBACK),
            RecordedHints(),
            Nudge(),
            self.clock,
            random.Random(7),
            uuid4,
            settings=SETTINGS,
            concurrency=concurrency_limit(database.pool_max),
            tick_seconds=15,
        )

    async def read_sql(self) -> None:
        """The statements of a pass over pools at rest."""
        now = self.clock.now()
        async with self.database.snapshot() as connection:
            await connection.fetch(SQL.load_circumstances, SYSTEM_USER_ID, now - TIMEOUT)
            await connection.fetch(SQL.load_presets, SYSTEM_USER_ID, None, None)
            await connection.fetch(SQL.load_totals, SYSTEM_USER_ID, now - TIMEOUT)
            await connection.fetch(SQL.load_histories, now - LOOKBACK)
            await connection.fetch(SQL.load_losses, now - LOSSES_COUNT_FOR * LOOKBACK, LOOKBACK)

    async def change_sql(self) -> None:
        """The statements of a pass' changes: every invalidated member goes, one comes for it."""
        async with self.database.read() as connection:
            due = await connection.fetch(
                "SELECT id, preset_id FROM workspaces WHERE invalidated_at IS NOT NULL"
            )
        await self._spread([partial(self._delete, row["id"]) for row in due])
        await self._spread([partial(self._create, row["preset_id"]) for row in due])

    async def warm_up(self) -> None:
        """Opens every connection, as a service that runs for a while has."""
        async with AsyncExitStack() as stack:
            for _ in range(self.database.pool_max):
                await stack.enter_async_context(self.database.read())

    async def _spread(self, works: list[Callable[[], Awaitable[object]]]) -> None:
        async def work() -> None:
            while works:
                await works.pop()()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.loop.concurrency - 1):
                tasks.create_task(work())

    async def _delete(self, workspace_id: UUID) -> None:
        async with self.database.read() as connection, connection.transaction():
            row = await connection.fetchrow(BUILDS.lock_workspace, workspace_id)
            assert row is not None
            await connection.fetchrow(
                BUILDS.insert_build,
                workspace_id,
                uuid4(),
                uuid4(),
                "delete",
                row["latest_template_version_id"],
                SYSTEM_USER_ID,
                "ordinary",
                "invalidated",
                row["parameters"],
                True,
                "",
                self.clock.now(),
            )

    async def _create(self, preset_id: UUID) -> None:
        workspace_id = uuid4()
        async with self.database.read() as connection, connection.transaction():
            preset = await connection.fetchrow(SQL.check_creatable, preset_id)
            assert preset is not None
            await connection.execute(SQL.count_member_made, preset_id)
            await connection.fetchval(
                BUILDS.insert_workspace,
                workspace_id,
                preset["organization_id"],
                SYSTEM_USER_ID,
                f"prebuild-{workspace_id.hex[:16]}",
                preset["template_id"],
                preset_id,
                True,
                None,
                "",
                self.clock.now(),
                uuid4(),
                uuid4(),
                preset["version_id"],
                SYSTEM_USER_ID,
                "create",
                "prebuild",
                {},
                "",
            )

    async def read_all_rows(self) -> None:
        """Every member's row."""
        async with self.database.snapshot() as connection:
            now = self.clock.now()
            await connection.fetch(
                SQL.load_members, SYSTEM_USER_ID, now - TIMEOUT, None, None, 0, now, None, None
            )


async def measure(*works: Callable[[], Awaitable[object]]) -> list[float]:
    """Medians in milliseconds. The works take turns, so that what else the machine does meets all
    of them.
    """
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            started_at = perf_counter()
            await work()
            taken.append(perf_counter() - started_at)
    return [statistics.median(taken) * 1000 for taken in times]


async def watch_stalls(stalls: list[float]) -> None:
    while True:
        started_at = perf_counter()
        await asyncio.sleep(0.001)
        stalls.append((perf_counter() - started_at) * 1000)


async def read_as_people_do(database: Database, latencies: list[float]) -> None:
    while True:
        started_at = perf_counter()
        async with database.read() as connection:
            await connection.fetchval("SELECT count(*) FROM templates")
        latencies.append((perf_counter() - started_at) * 1000)


async def run_figure(
    floor: Installation,
    installation: Installation,
    scenario: str,
    presets: int,
    disturbed: int,
    readers: int = 0,
) -> Figure:
    await floor.warm_up()
    await installation.warm_up()
    (all_rows_ms,) = await measure(floor.read_all_rows)
    sql_ms, pass_ms = await measure(floor.read_sql, installation.loop.run_once)
    if disturbed:
        await disturb(floor.database, disturbed, floor.clock.now())
        started_at = perf_counter()
        await floor.change_sql()
        sql_ms += (perf_counter() - started_at) * 1000
        pass_ms = 0.0
    stalls: list[float] = []
    latencies: list[float] = []
    await disturb(installation.database, disturbed, installation.clock.now())
    installation.database.peak = 0
    async with asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(watch_stalls(stalls))]
        others += [
            tasks.create_task(read_as_people_do(installation.database, latencies))
            for _ in range(readers)
        ]
        await asyncio.sleep(0)
        started_at = perf_counter()
        result = await installation.loop.run_once()
        once_ms = (perf_counter() - started_at) * 1000
        for other in others:
            other.cancel()
    assert (result.presets_total, result.presets_reconciled) == (presets, disturbed)
    assert (result.created, result.deleted, result.failed) == (disturbed, disturbed, 0)
    assert installation.database.peak <= installation.loop.concurrency + readers
    return Figure(
        scenario=scenario,
        presets=presets,
        members=presets * MEMBERS_PER_PRESET,
        reconciled=result.presets_reconciled,
        actions=result.created + result.deleted,
        connections_peak=installation.database.peak,
        pass_ms=pass_ms or once_ms,
        sql_ms=sql_ms,
        ratio=(pass_ms or once_ms) / sql_ms,
        all_rows_ms=all_rows_ms,
        stall_ms=max(stalls, default=0.0),
        read_p50_ms=statistics.median(latencies) if latencies else 0.0,
        read_max_ms=max(latencies, default=0.0),
    )


async def test_reconcile(postgres_server: PostgresServer, database: DatabaseFactory) -> None:
    figures: list[Figure] = []
    gc.collect()
    gc.freeze()  # as the service does; a test process holds much more

    async def run(scenario: str, presets: int, share: float, pool_max: int, readers: int) -> None:
        async def prepare(url: str) -> None:
            async with open_database(url, pool_max=1) as opened:
                await migrate(opened)
                await install_crowd(opened, presets, SettableClock().now())

        template = await postgres_server.make_template(f"crowd_{presets}", prepare)
        async with (
            open_database(await database(template), pool_max=pool_max) as copy,
            open_database(await database(template), pool_max=pool_max) as opened,
        ):
            disturbed = int(presets * share)
            figures.append(
                await run_figure(
                    Installation(copy), Installation(opened), scenario, presets, disturbed, readers
                )
            )

    for presets in (100, 1_000, 10_000):
        await run("NoOps", presets, 0.0, 16, 0)
    for presets in (100, 1_000, 10_000):
        await run("Mix", presets, 0.01, 16, 0)
    for presets in (100, 1_000, 10_000):
        await run("ConnectionContention", presets, 1.0, 8, 4)
    print(
        "\nscenario              presets  members  reconciled  actions  peak"
        "   pass ms   SQL ms  ratio  all rows ms  stall ms  read p50  read max"
    )
    for f in figures:
        print(
            f"{f.scenario:20}  {f.presets:7}  {f.members:7}  {f.reconciled:10}  {f.actions:7}"
            f"  {f.connections_peak:4}  {f.pass_ms:8.1f}  {f.sql_ms:7.1f}  {f.ratio:5.2f}"
            f"  {f.all_rows_ms:11.1f}  {f.stall_ms:8.1f}  {f.read_p50_ms:8.2f}"
            f"  {f.read_max_ms:8.2f}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reconcile.json").write_text(
        json.dumps([asdict(figure) for figure in figures], indent=2) + "\n"
    )
