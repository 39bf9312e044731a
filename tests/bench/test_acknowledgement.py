"""From a claim to its acknowledgement by the agent, with no Terraform in between.

A real reconciler on a durable Postgres, a real nats-server, one real gateway that holds all agents;
the provisioner is this process and ends every claim's build at once. Claims come at a steady rate
through the public API. An agent acknowledges APPLYING, then APPLIED; what counts is when the answer
to the latter is there. There are two floors, with as many agents: a bare grpc.aio server, with a
call that sets off an event, the event, and two calls of the agent; and the whole chain of calls,
messages and commits that a claim consists of, bare (`testkit.bench_chain`). Prints a table and
writes bench-results/acknowledgement.json; asserts no time.

WARMPOOL_BENCH_AGENTS is how many agents are held (2000), WARMPOOL_BENCH_PER_SECOND the rate (50).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import grpc.aio
import pytest

from testkit.bench import Rate, Report, cpu_seconds, percentile, run_open
from testkit.bench_agents import WAIT
from testkit.bench_chain import CLAIM, DONE, JOBS, TABLE
from testkit.bench_crowd import Crowd, many_files, run_crowd
from testkit.bench_echo import FIRE, HOLD
from testkit.bench_system import (
    PROVISIONER_KEY,
    BenchSystem,
    bench_system,
    seed_pool,
    seed_template,
    seed_users,
)
from testkit.eventually import eventually
from warmpool.control.v1 import workspaces_pb2
from warmpool.control.v1.workspaces_pb2_grpc import WorkspaceServiceStub
from warmpool.provisioner.v1 import provisioner_pb2 as pb
from warmpool.provisioner.v1.provisioner_pb2_grpc import ProvisionerServiceStub

pytestmark = pytest.mark.bench

AGENTS = int(os.environ.get("WARMPOOL_BENCH_AGENTS", "2000"))
CLAIMS = 500
PER_SECOND = float(os.environ.get("WARMPOOL_BENCH_PER_SECOND", "50"))
WANT = 16
STEPS = ("claimed_at", "built_at", "delivered_at", "applied_at")
PROVISIONER = (("authorization", f"Bearer {PROVISIONER_KEY}"),)
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


async def build(system: BenchSystem, agent_ids: dict[str, str]) -> None:
    """A provisioner that has nothing to do: every build is complete when it is acquired."""
    wants: asyncio.Queue[int] = asyncio.Queue()
    wants.put_nowait(WANT)

    async def requests() -> AsyncGenerator[pb.AcquireJobsRequest]:
        yield pb.AcquireJobsRequest(
            register=pb.RegisterWorker(
                worker_id=str(uuid4()), name="bench", provisioner_types=["process"]
            )
        )
        while True:
            yield pb.AcquireJobsRequest(want=pb.WantJobs(count=await wants.get()))

    async def complete(stub: ProvisionerServiceStub, job: pb.AcquiredJob) -> None:
        agent_id = agent_ids[job.workspace_build.workspace_id]
        built = pb.WorkspaceBuildResult(
            agents=[pb.BuiltAgent(id=agent_id, name="main", token=agent_id)]
        )
        await stub.CompleteJob(
            pb.CompleteJobRequest(ref=job.ref, workspace_build=built), metadata=PROVISIONER
        )
        wants.put_nowait(1)

    async with (
        grpc.aio.insecure_channel(system.address, options=OWN_CONNECTION) as channel,
        asyncio.TaskGroup() as tasks,
    ):
        stub = ProvisionerServiceStub(channel)
        async for response in stub.AcquireJobs(requests(), metadata=PROVISIONER):
            if response.HasField("job"):
                tasks.create_task(complete(stub, response.job))


async def all_are_known(system: BenchSystem) -> None:
    """The gateway has told of every agent it holds."""
    async with system.connect() as connection:
        assert not await connection.fetchval("SELECT count(*) FROM agents WHERE seen_by IS NULL")


@asynccontextmanager
async def listening(crowd: Crowd) -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(crowd.listen())
        yield
        task.cancel()


class Spent:
    """The CPU that processes have taken since."""

    def __init__(self, system: BenchSystem, names: tuple[str, ...]) -> None:
        pids = {name: system.supervisor.pid_of(name) for name in names}
        self._pids = {name: pid for name, pid in pids.items() if pid is not None}
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def per_claim(self) -> dict[str, float]:
        """Milliseconds for each claim, by process."""
        return {
            name: 1000 * (cpu_seconds(pid) - self._before[name]) / CLAIMS
            for name, pid in self._pids.items()
        }


async def measure(act: Callable[[], Awaitable[object]]) -> Rate:
    return await run_open(act, count=CLAIMS, per_second=PER_SECOND)


async def measure_floor(
    channel: grpc.aio.Channel, method: str, crowd: Crowd, tokens: list[str]
) -> Rate:
    """A bare call for one agent after the other, until what it sets off is acknowledged."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    numbers = iter(range(CLAIMS))

    async def act() -> None:
        number = next(numbers)
        heard = crowd.hear(number)
        await call(tokens[number].encode())
        await heard

    async with listening(crowd):
        return await measure(act)


async def measure_bare(system: BenchSystem, tokens: list[str], tokens_file: Path) -> Rate:
    """The floor."""
    address = await system.start_echo(150)
    async with (
        grpc.aio.insecure_channel(address, options=OWN_CONNECTION) as channel,
        run_crowd(address, HOLD, AGENTS, tokens_file=tokens_file) as crowd,
    ):
        await crowd.wait_connected()
        rate = await measure_floor(channel, FIRE, crowd, tokens)
    await system.supervisor.stop_service("echo")
    return rate


async def measure_chain(
    system: BenchSystem, tokens: list[str], tokens_file: Path
) -> tuple[Rate, dict[str, float]]:
    """The floor of the whole way, as many calls, messages and commits; and its CPU, as ours."""
    async with system.connect() as connection:
        await connection.execute(TABLE)
        await connection.executemany(
            "INSERT INTO bare_chain VALUES ($1, 0)", [(t,) for t in tokens]
        )
        await connection.execute("ANALYZE bare_chain")
    control, gate = await system.start_chain()

    async def work(channel: grpc.aio.Channel) -> None:
        jobs: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(JOBS)
        done: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(DONE)
        async with asyncio.TaskGroup() as tasks:
            async for token in jobs(b""):
                tasks.create_task(_complete(done, token))

    async with (
        grpc.aio.insecure_channel(control, options=OWN_CONNECTION) as asking,
        grpc.aio.insecure_channel(control, options=OWN_CONNECTION) as working,
        run_crowd(gate, HOLD, AGENTS, tokens_file=tokens_file) as crowd,
        asyncio.TaskGroup() as tasks,
    ):
        worker = tasks.create_task(work(working))
        await crowd.wait_connected()
        spent = Spent(system, ("chain-control", "chain-gate"))
        rate = await measure_floor(asking, CLAIM, crowd, tokens)
        costs = spent.per_claim()
        worker.cancel()
    for role in ("gate", "control"):
        await system.supervisor.stop_service(f"chain-{role}")
    return rate, costs


async def _complete(done: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], token: bytes) -> None:
    await done(token)


async def measure_claims(
    system: BenchSystem, bearer: str, tokens_file: Path, agent_ids: dict[str, str]
) -> tuple[Rate, dict[str, float]]:
    """From the request to the answer to the agent's last acknowledgement; and the milliseconds of
    CPU that each claim cost, by process.
    """
    address = await system.start_gateway()
    async with (
        grpc.aio.insecure_channel(system.address, options=OWN_CONNECTION) as channel,
        run_crowd(address, WAIT, AGENTS, tokens_file=tokens_file) as crowd,
        asyncio.TaskGroup() as tasks,
    ):
        building = tasks.create_task(build(system, agent_ids))
        await crowd.wait_connected()
        await eventually(partial(all_are_known, system), seconds=60)  # the storm is over
        stub = WorkspaceServiceStub(channel)
        heard = {agent: crowd.hear(number) for number, agent in enumerate(agent_ids.values())}
        spent = Spent(system, ("reconciler", "agentgw"))

        async def claim() -> None:
            response = await stub.CreateWorkspace(
                workspaces_pb2.CreateWorkspaceRequest(
                    template="dev", name=f"w-{uuid4().hex[:16]}", request_id=str(uuid4())
                ),
                metadata=(("authorization", f"Bearer {bearer}"),),
            )
            assert response.warm, response
            await heard[agent_ids[response.workspace.id]]

        async with listening(crowd):
            rate = await measure(claim)
        costs = spent.per_claim()
        building.cancel()
    await system.supervisor.stop_service("agentgw")
    return rate, costs


async def read_steps(system: BenchSystem) -> dict[str, list[float]]:
    """What Postgres says of each claim: milliseconds from its transaction to each later step."""
    async with system.connect() as connection:
        rows = await connection.fetch(f"SELECT {', '.join(STEPS)} FROM claims")
    assert len(rows) == CLAIMS
    return {
        step: [1000 * (row[step] - row["claimed_at"]).total_seconds() for row in rows]
        for step in STEPS[1:]
    }


async def test_from_the_claim_to_its_acknowledgement(tmp_path: Path) -> None:
    with many_files(AGENTS):
        async with bench_system(tmp_path) as system:
            async with system.connect() as connection:
                (bearer,) = await seed_users(connection, 1)
                version_id = await seed_template(connection, "dev")
                # nothing refills the pool: what counts here is the way to an agent
                await connection.execute(
                    "INSERT INTO settings (name, value, updated_at)"
                    " VALUES ('reconciliation_paused', 'true', now())"
                )
                await seed_pool(connection, version_id, "many", AGENTS)
                await connection.execute("UPDATE presets SET is_default = true, parameters = '{}'")
                rows = await connection.fetch("SELECT workspace_id, id FROM agents")
            agent_ids = {str(row["workspace_id"]): str(row["id"]) for row in rows}
            tokens_file = tmp_path / "tokens"
            tokens_file.write_text("\n".join(agent_ids.values()))
            bare = await measure_bare(system, list(agent_ids.values()), tokens_file)
            chain, floors = await measure_chain(system, list(agent_ids.values()), tokens_file)
            ours, spent = await measure_claims(system, bearer, tokens_file, agent_ids)
            steps = await read_steps(system)
    report = Report(
        "acknowledgement", f"Claim to acknowledgement, {PER_SECOND:g} per second, {AGENTS} held"
    )
    report.add_rate("bare grpc.aio: call, event, two calls", bare)
    report.add_rate("bare chain: its calls, messages and commits", chain)
    report.add_rate("asked for -> acknowledged", ours, of_chain=ours.p50_ms / chain.p50_ms)
    for name, in_ms in (floors | spent).items():
        report.add(f"CPU of {name} per claim", cpu_ms=in_ms)
    for step, waits in steps.items():
        report.add(
            f"claimed -> {step.removesuffix('_at')}",
            p50_ms=percentile(waits, 0.5),
            p99_ms=percentile(waits, 0.99),
            max_ms=max(waits),
        )
    report.print()
