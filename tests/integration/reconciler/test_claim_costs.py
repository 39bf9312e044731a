"""What a claim costs from its commit to the agent's acknowledgement: counted statements, so that
none comes in unnoticed. Nothing of it takes a transaction of several statements.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import pytest
from asyncpg.connection import LoggedQuery

from bus.memory import MemoryBus
from reconciler.core.permissions import ServicePrincipal
from reconciler.loops.hints import BusHints
from reconciler.loops.outbox import OutboxLoop
from reconciler.rpc.gateway import GatewayServicer
from reconciler.rpc.provisioner import ProvisionerServicer, ProvisionerSettings
from reconciler.store.builds import JobEnds
from reconciler.store.db import Connection, Database
from reconciler.store.gateway import Agents
from reconciler.store.jobs import JobQueue
from reconciler.store.outbox import Outbox
from reconciler.store.queries import QUERY_FILES, load_queries
from svckit.auth import current_principal, hash_token
from svckit.system import SystemEntropy
from testkit.eventually import eventually
from testkit.pool_world import AGENT_TIMEOUT, PoolWorld
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb

pytestmark = pytest.mark.integration

NAMES = {text: name for file in QUERY_FILES for name, text in load_queries(file).texts.items()}
CLAIMS = 3
EACH = {
    "acquire_jobs": 1,
    "get_completion": 1,
    "complete_build": 1,
    "check_agents": 1,
    "record_reinits": 2,  # delivered and applying, applied
}


class CountedDatabase(Database):
    """Counts every statement by its name; one without a name, such as COMMIT, by its text."""

    def __init__(self, database: Database) -> None:
        super().__init__(database._pool, database.pool_max)
        self.counts: Counter[str] = Counter()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection]:
        async with super().read() as connection:
            with connection.query_logger(self._count):
                yield connection

    def _count(self, query: LoggedQuery) -> None:
        self.counts[NAMES.get(query.query, query.query)] += 1


class Stage:
    """A replica with one worker, whose agents are told by nobody but the test."""

    def __init__(self, world: PoolWorld) -> None:
        self.world = world
        self.database = CountedDatabase(world.database)
        self.bus = MemoryBus()
        self.hints = BusHints(self.bus)
        self.wants: asyncio.Queue[int] = asyncio.Queue()
        self.jobs: asyncio.Queue[pb.AcquiredJob] = asyncio.Queue()
        self.provisioner = ProvisionerServicer(
            JobQueue(self.database),
            world.tfstates,
            JobEnds(self.database, world.cipher),
            self.hints,
            self.hints,
            world.clock,
            ProvisionerSettings(access_url=""),
            asyncio.Event(),
        )
        agents = Agents(self.database, world.cipher, agent_timeout=AGENT_TIMEOUT)
        self.gateway = GatewayServicer(agents, self.hints, world.clock)
        self.outbox = OutboxLoop(
            Outbox(self.database), self.bus, self.hints.promises, world.clock, SystemEntropy()
        )

    async def requests(self) -> AsyncGenerator[pb.AcquireJobsRequest]:
        register = pb.RegisterWorker(
            worker_id=str(self.world.worker.id), provisioner_types=["process"]
        )
        yield pb.AcquireJobsRequest(register=register)
        while True:
            yield pb.AcquireJobsRequest(want=pb.WantJobs(count=await self.wants.get()))

    async def take_jobs(self) -> None:
        """The worker's stream."""
        async for response in self.provisioner.AcquireJobs(self.requests(), None):
            if response.HasField("job"):
                self.jobs.put_nowait(response.job)

    async def complete(self, job: pb.AcquiredJob, token: str) -> None:
        """The worker's result: the workspace's agent, kept."""
        workspace_id = UUID(job.workspace_build.workspace_id)
        agent = pb.BuiltAgent(id=str(UUID(int=workspace_id.int ^ 1)), name="main", token=token)
        built = pb.WorkspaceBuildResult(agents=[agent])
        await self.provisioner.CompleteJob(
            pb.CompleteJobRequest(ref=job.ref, workspace_build=built), None
        )

    async def deliver(self, token: str) -> None:
        """The gateway's look, and what it reports until the agent has applied the claim."""
        token_hash = hash_token(token)
        answer = await self.gateway.CheckAgents(
            gateway_pb2.CheckAgentsRequest(token_hashes=[token_hash]), None
        )
        (check,) = answer.checks
        assert check.verdict == gateway_pb2.REINIT_VERDICT_DELIVERABLE
        delivered = gateway_pb2.ReinitRecord(
            token_hash=token_hash, claim_id=check.claim_id, delivered=True
        )
        applying, applied = (
            gateway_pb2.ReinitRecord(token_hash=token_hash, claim_id=check.claim_id, phase=phase)
            for phase in (types_pb2.REINIT_PHASE_APPLYING, types_pb2.REINIT_PHASE_APPLIED)
        )
        for records in ([delivered, applying], [applied]):
            recorded = await self.gateway.RecordReinits(
                gateway_pb2.RecordReinitsRequest(records=records), None
            )
            assert all(recorded.accepted)


@contextmanager
def as_provisioner(world: PoolWorld) -> Generator[None]:
    reset = current_principal.set(ServicePrincipal(kind="provisioner", key_id=world.worker.key_id))
    try:
        yield
    finally:
        current_principal.reset(reset)


async def test_every_statement_from_the_claim_to_its_acknowledgement(world: PoolWorld) -> None:
    for _ in range(CLAIMS):
        await world.ready_prebuild()
    stage = Stage(world)

    async def looked() -> None:
        assert stage.database.counts["acquire_jobs"] == 1

    with as_provisioner(world):
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            working = tasks.create_task(stage.take_jobs())
            stage.wants.put_nowait(1)
            await eventually(looked)  # at a queue that is empty
            stage.database.counts.clear()
            for number in range(CLAIMS):
                claimed = await world.claim()
                stage.hints.wake_workers()
                job = await stage.jobs.get()
                assert job.workspace_build.workspace_id == str(claimed)
                token = f"token {number}"
                await stage.complete(job, token)
                stage.wants.put_nowait(1)
                assert await stage.outbox.say_fresh() == 1
                await stage.deliver(token)
            await stage.outbox.settle()
            working.cancel()
    expected = {name: count * CLAIMS for name, count in EACH.items()}
    assert stage.database.counts == expected | {"delete_outbox": 1}  # for all of a moment
    applied = await world.fetch("SELECT id FROM claims WHERE applied_at IS NOT NULL")
    assert len(applied) == CLAIMS
