"""How soon a worker has a posted job, and how many jobs per second workers can take.

A real reconciler process on a durable Postgres; workers are acquire streams of this process. The
floors need no product: for pickup, an insert with NOTIFY, a listener, and `FOR UPDATE SKIP LOCKED`
on a table of two columns, over asyncpg; for throughput, the same statement by as many connections.
Beside them, on the same Postgres, Procrastinate: a queue in Postgres that others use, with its own
worker in this process, woken by NOTIFY.
Prints a table and writes bench-results/queue.json; asserts no time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import asyncpg
import grpc.aio
import procrastinate
import pytest

from testkit.bench import Rate, Report, cpu_seconds, run_open
from testkit.bench_system import (
    PROVISIONER_KEY,
    BenchSystem,
    bench_system,
    seed_pool,
    seed_template,
    seed_users,
)
from warmpool.control.v1 import workspaces_pb2
from warmpool.control.v1.workspaces_pb2_grpc import WorkspaceServiceStub
from warmpool.provisioner.v1 import provisioner_pb2 as pb
from warmpool.provisioner.v1.provisioner_pb2_grpc import ProvisionerServiceStub

pytestmark = pytest.mark.bench

POSTS = 200
POSTS_PER_SECOND = 20
JOBS = 1000
WIDTHS = (1, 4, 16)
WANT = 16
TAKE = (
    "UPDATE bare_jobs SET taken = true WHERE id = (SELECT id FROM bare_jobs WHERE NOT taken"
    " ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id"
)
BARE_TABLE = (
    "CREATE TABLE bare_jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, taken boolean);"
    " CREATE INDEX ON bare_jobs (id) WHERE NOT taken"
)
JOBS_AGAIN = (
    "UPDATE jobs SET status = 'pending', finished_at = NULL, worker_id = NULL, started_at = NULL"
    " WHERE kind = 'workspace_build'"
)


@asynccontextmanager
async def a_worker(system: BenchSystem, want: int) -> AsyncGenerator[asyncio.Queue[str]]:
    """A worker that always wants so many jobs; the ids of those it gets."""
    jobs: asyncio.Queue[str] = asyncio.Queue()
    wants: asyncio.Queue[int] = asyncio.Queue()
    wants.put_nowait(want)
    known = asyncio.Event()

    async def requests() -> AsyncGenerator[pb.AcquireJobsRequest]:
        yield pb.AcquireJobsRequest(
            register=pb.RegisterWorker(
                worker_id=str(uuid4()), name="bench", provisioner_types=["process"]
            )
        )
        while True:
            yield pb.AcquireJobsRequest(want=pb.WantJobs(count=await wants.get()))

    async def take(stub: ProvisionerServiceStub) -> None:
        key = (("authorization", f"Bearer {PROVISIONER_KEY}"),)
        async for response in stub.AcquireJobs(requests(), metadata=key):
            known.set()
            if response.HasField("job"):
                jobs.put_nowait(response.job.ref.job_id)
                wants.put_nowait(1)

    options = (("grpc.use_local_subchannel_pool", 1),)
    async with (
        grpc.aio.insecure_channel(system.address, options=options) as channel,
        asyncio.TaskGroup() as tasks,
    ):
        taking = tasks.create_task(take(ProvisionerServiceStub(channel)))
        await known.wait()
        yield jobs
        taking.cancel()


async def measure_pickup(system: BenchSystem, token: str) -> Rate:
    """From the moment a person asks for a workspace to its job at the worker, whenever the answer
    comes.
    """
    latencies: list[float] = []
    got: dict[str, asyncio.Future[float]] = {}
    bearer = (("authorization", f"Bearer {token}"),)

    def future_of(job_id: str) -> asyncio.Future[float]:
        return got.setdefault(job_id, asyncio.get_running_loop().create_future())

    async def note(jobs: asyncio.Queue[str]) -> None:
        while True:
            future_of(await jobs.get()).set_result(perf_counter())

    async with (
        grpc.aio.insecure_channel(system.address) as channel,
        a_worker(system, WANT) as jobs,
        asyncio.TaskGroup() as tasks,
    ):
        noting = tasks.create_task(note(jobs))
        stub = WorkspaceServiceStub(channel)

        async def post() -> None:
            began = perf_counter()
            response = await stub.CreateWorkspace(
                workspaces_pb2.CreateWorkspaceRequest(
                    template="dev", name=f"w-{uuid4().hex[:16]}", request_id=str(uuid4())
                ),
                metadata=bearer,
            )
            assert not response.warm
            latencies.append(await future_of(response.workspace.latest_build.job_id) - began)

        rate = await run_open(post, count=POSTS, per_second=POSTS_PER_SECOND)
        noting.cancel()
    return Rate.of(latencies, rate.seconds)


async def measure_bare_pickup(system: BenchSystem) -> Rate:
    """The floor: insert and NOTIFY, listen, take."""
    got: dict[int, asyncio.Future[None]] = {}
    woken = asyncio.Event()

    async def take(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        def wake(*_: object) -> None:
            woken.set()

        await connection.add_listener("bare", wake)
        while True:
            await woken.wait()
            woken.clear()
            while (taken := await connection.fetchval(TAKE)) is not None:
                got.setdefault(taken, asyncio.get_running_loop().create_future()).set_result(None)

    async with (
        asyncpg.create_pool(system.database_url, min_size=4, max_size=4) as pool,
        system.connect() as worker,
        asyncio.TaskGroup() as tasks,
    ):
        taking = tasks.create_task(take(worker))

        async def post() -> None:
            job_id = await pool.fetchval(
                "WITH told AS MATERIALIZED (SELECT pg_notify('bare', ''))"
                " INSERT INTO bare_jobs (taken) SELECT false FROM told RETURNING id"
            )
            await got.setdefault(job_id, asyncio.get_running_loop().create_future())

        rate = await run_open(post, count=POSTS, per_second=POSTS_PER_SECOND)
        taking.cancel()
    return rate


async def measure_procrastinate(system: BenchSystem) -> Rate:
    """From the moment a task is deferred to its first line in a worker."""
    got: dict[int, asyncio.Future[None]] = {}
    numbers = itertools.count()

    def future_of(number: int) -> asyncio.Future[None]:
        return got.setdefault(number, asyncio.get_running_loop().create_future())

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=system.database_url))

    @app.task
    async def note(number: int) -> None:
        future_of(number).set_result(None)

    async with app.open_async(), asyncio.TaskGroup() as tasks:
        await app.schema_manager.apply_schema_async()
        working = tasks.create_task(
            app.run_worker_async(concurrency=WANT, install_signal_handlers=False)
        )

        async def post() -> None:
            number = next(numbers)
            await note.defer_async(number=number)
            await future_of(number)

        await post()  # the worker listens
        rate = await run_open(post, count=POSTS, per_second=POSTS_PER_SECOND)
        working.cancel()
    return rate


async def measure_acquiring(system: BenchSystem, workers: int) -> float:
    """Jobs per second that so many workers take off a full queue."""
    left = JOBS

    async def count(jobs: asyncio.Queue[str], ended: asyncio.Event) -> None:
        nonlocal left
        while not ended.is_set():
            await jobs.get()
            left -= 1
            if left <= 0:
                ended.set()

    async with system.connect() as connection:
        await connection.execute(JOBS_AGAIN)
    ended = asyncio.Event()
    started_at = perf_counter()

    async def work(tasks: asyncio.TaskGroup) -> None:
        async with a_worker(system, WANT) as jobs:
            counting = tasks.create_task(count(jobs, ended))
            await ended.wait()
            counting.cancel()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(work(tasks))
        await ended.wait()
        seconds = perf_counter() - started_at
    return JOBS / seconds


async def measure_bare_taking(system: BenchSystem, workers: int) -> float:
    """The floor: one statement per job."""
    async with asyncpg.create_pool(system.database_url, min_size=workers, max_size=workers) as pool:
        await pool.execute("TRUNCATE bare_jobs")
        await pool.execute(
            "INSERT INTO bare_jobs (taken) SELECT false FROM generate_series(1, $1::int)", JOBS
        )

        async def work() -> None:
            async with pool.acquire() as connection:
                while await connection.fetchval(TAKE) is not None:
                    pass

        started_at = perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(work())
        return JOBS / (perf_counter() - started_at)


async def test_pickup_and_acquiring(tmp_path: Path) -> None:
    report = Report("queue", "Jobs: from posted to acquired, and acquired per second")
    async with bench_system(tmp_path) as system:
        async with system.connect() as connection:
            (token,) = await seed_users(connection, 1)
            version_id = await seed_template(connection, "dev")
            await connection.execute(BARE_TABLE)
        bare = await measure_bare_pickup(system)
        procrastinates = await measure_procrastinate(system)
        before = cpu_seconds(system.reconciler_pid)
        ours = await measure_pickup(system, token)
        cpu_ms = 1000 * (cpu_seconds(system.reconciler_pid) - before) / POSTS
        report.add_rate(f"bare insert, NOTIFY, take, {POSTS_PER_SECOND} per second", bare)
        report.add_rate(
            f"Procrastinate, deferred -> begun, {POSTS_PER_SECOND} per second", procrastinates
        )
        report.add_rate(
            f"workspace asked for -> job acquired, {POSTS_PER_SECOND} per second",
            ours,
            server_cpu_ms=cpu_ms,
        )
        async with system.connect() as connection:
            await seed_pool(connection, version_id, "many", JOBS)
        for workers in WIDTHS:
            floor = await measure_bare_taking(system, workers)
            taken = await measure_acquiring(system, workers)
            report.add(f"bare take, {workers} connections", per_second=floor)
            report.add(
                f"acquired over gRPC, {workers} workers", per_second=taken, of_floor=taken / floor
            )
    report.print()
