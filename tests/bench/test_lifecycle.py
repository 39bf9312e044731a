"""What a pass of the lifecycle executor costs beside its SQL alone.

An installation has 10,000 workspaces of people and as many prebuilds. *AtRest*: every workspace has
a deadline and an autostart to come, nothing is due. *Some*: 100 must stop. *All*: all 10,000 must,
pass after pass until it is done. The floor is the executor's own SQL alone, on a copy of the same
database: the look for who is due, then the statements of each stop in a transaction, on as many
connections. Prints a table and writes bench-results/lifecycle.json; asserts counts and no time.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from uuid import UUID, uuid4

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.lifecycle import RETRY_AFTER
from reconciler.loops.lifecycle import BATCH_MAX, LifecycleLoop
from reconciler.store.db import Database, open_database
from reconciler.store.lifecycle import Lifecycles
from reconciler.store.migrate import migrate
from reconciler.store.queries import load_queries
from testkit.clock import SettableClock
from testkit.pool_crowd import MEMBERS_PER_PRESET, install_crowd
from testkit.pool_world import RecordedHints
from testkit.postgres import DatabaseFactory, PostgresServer

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

RESULTS = Path(__file__).parents[2] / "bench-results"
WORKSPACES = 10_000
CONCURRENCY = 4
TICK_SECONDS = 15.0
ROUNDS = 7
SQL = load_queries("lifecycle")
BUILDS = load_queries("builds")
ADA = UUID(int=1)

_PEOPLE = """
UPDATE workspaces SET owner_id = $1, last_used_at = $2, ttl_seconds = 3600,
       deadline_at = $2::timestamptz + interval '1 hour',
       autostart_schedule = '30 8 * * 1-5', autostart_timezone = 'Europe/Berlin',
       next_start_at = $2::timestamptz + interval '1 day'
WHERE id IN (SELECT id FROM workspaces ORDER BY id LIMIT $3)"""

_DUE = """
UPDATE workspaces SET deadline_at = $1
WHERE id IN (SELECT id FROM workspaces WHERE owner_id = $2 ORDER BY id LIMIT $3)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; times are milliseconds, medians where nothing is changed."""

    scenario: str
    workspaces: int
    due: int
    passes: int
    total_ms: float
    sql_ms: float
    ratio: float
    stops_per_second: float
    stall_ms: float


class Floor:
    """The executor's statements, and nothing else."""

    def __init__(self, database: Database, clock: SettableClock) -> None:
        self._database = database
        self._clock = clock

    async def look(self, limit: int = BATCH_MAX) -> list[UUID]:
        """Who is due, or will be soon."""
        until = self._clock.now() + timedelta(seconds=1.5 * TICK_SECONDS)
        async with self._database.read() as connection:
            rows = await connection.fetch(
                SQL.list_due, SYSTEM_USER_ID, until, limit, [], RETRY_AFTER.total_seconds()
            )
        return [row["id"] for row in rows]

    async def stop_all(self) -> None:
        """Pass after pass until nothing is due."""
        while found := await self.look():
            await self.look(1)

            async def work(queue: list[UUID] = found) -> None:
                while queue:
                    await self._stop(queue.pop())

            async with asyncio.TaskGroup() as tasks:
                for _ in range(CONCURRENCY):
                    tasks.create_task(work())

    async def _stop(self, workspace_id: UUID) -> None:
        async with self._database.read() as connection, connection.transaction():
            await connection.fetchrow(SQL.hold_lifecycle, workspace_id, SYSTEM_USER_ID)
            row = await connection.fetchrow(BUILDS.lock_workspace, workspace_id)
            assert row is not None
            await connection.fetchrow(
                BUILDS.insert_build,
                workspace_id,
                uuid4(),
                uuid4(),
                "stop",
                row["latest_template_version_id"],
                row["owner_id"],
                "ordinary",
                "autostop",
                row["parameters"],
                True,
                "",
                self._clock.now(),
            )


async def prepare(url: str) -> None:
    """Twice as many pool members as there are people's workspaces; half of them change hands."""
    now = SettableClock().now()
    async with open_database(url, pool_max=1) as opened:
        await migrate(opened)
        await install_crowd(opened, 2 * WORKSPACES // MEMBERS_PER_PRESET, now)
        async with opened.read() as connection:
            await connection.execute(
                "INSERT INTO users (id, username, created_at) VALUES ($1, 'ada', $2)", ADA, now
            )
            await connection.execute(_PEOPLE, ADA, now, WORKSPACES)
            await connection.execute("VACUUM ANALYZE workspaces")


async def measure(work: Callable[[], Awaitable[object]], rounds: int) -> float:
    times: list[float] = []
    for _ in range(rounds):
        started_at = perf_counter()
        await work()
        times.append((perf_counter() - started_at) * 1000)
    return statistics.median(times)


async def watch_stalls(stalls: list[float]) -> None:
    while True:
        started_at = perf_counter()
        await asyncio.sleep(0.001)
        stalls.append((perf_counter() - started_at) * 1000)


async def run_figure(copy: Database, opened: Database, scenario: str, due: int) -> Figure:
    clock = SettableClock()
    floor = Floor(copy, clock)
    loop = LifecycleLoop(
        opened,
        Lifecycles(opened),
        RecordedHints(),
        clock,
        random.Random(7),
        uuid4,
        concurrency=CONCURRENCY,
        tick_seconds=TICK_SECONDS,
    )
    for database in (copy, opened):
        async with database.read() as connection:
            await connection.execute(_DUE, clock.now(), ADA, due)
    stalls: list[float] = []
    passes = stopped = 0

    async def run_until_done() -> None:
        nonlocal passes, stopped
        while True:
            done = await loop.run_once()
            assert done.failed == 0
            passes += 1
            stopped += done.stopped
            if done.stopped == 0:
                return

    rounds = 1 if due else ROUNDS
    sql_ms = await measure(floor.stop_all if due else floor.look, rounds)
    async with asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(watch_stalls(stalls))
        total_ms = await measure(run_until_done, rounds)
        watcher.cancel()
    assert stopped == due
    async with opened.read() as connection:
        touched = await connection.fetchval(
            "SELECT count(*) FROM workspaces WHERE owner_id = $1 AND latest_build_number > 1",
            SYSTEM_USER_ID,
        )
    assert touched == 0
    return Figure(
        scenario=scenario,
        workspaces=WORKSPACES,
        due=due,
        passes=passes // rounds,
        total_ms=total_ms,
        sql_ms=sql_ms,
        ratio=total_ms / sql_ms,
        stops_per_second=stopped / total_ms * 1000,
        stall_ms=max(stalls, default=0.0),
    )


async def test_lifecycle(postgres_server: PostgresServer, database: DatabaseFactory) -> None:
    template = await postgres_server.make_template("lifecycle_crowd", prepare)
    figures: list[Figure] = []
    for scenario, due in (("AtRest", 0), ("Some", 100), ("All", WORKSPACES)):
        async with (
            open_database(await database(template), pool_max=CONCURRENCY + 1) as copy,
            open_database(await database(template), pool_max=CONCURRENCY + 1) as opened,
        ):
            figures.append(await run_figure(copy, opened, scenario, due))
    print("\nscenario  workspaces    due  passes   total ms     SQL ms  ratio  stops/s  stall ms")
    for f in figures:
        print(
            f"{f.scenario:8}  {f.workspaces:10}  {f.due:5}  {f.passes:6}  {f.total_ms:9.1f}"
            f"  {f.sql_ms:9.1f}  {f.ratio:5.2f}  {f.stops_per_second:7.0f}  {f.stall_ms:8.1f}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "lifecycle.json").write_text(
        json.dumps([asdict(figure) for figure in figures], indent=2) + "\n"
    )
