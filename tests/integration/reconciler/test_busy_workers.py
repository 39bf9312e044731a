"""A worker that is given one job after another is as present as an idle one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from bus.memory import MemoryBus
from reconciler.core.permissions import ServicePrincipal
from reconciler.loops.hints import BusHints
from reconciler.loops.notifications import PROVISIONER_SEEN
from reconciler.rpc.provisioner import ProvisionerServicer, ProvisionerSettings
from reconciler.store.notifications import NotificationQueue
from svckit.auth import current_principal
from testkit.pool_world import PoolWorld, RecordedHints
from warmpool.provisioner.v1 import provisioner_pb2 as pb

pytestmark = pytest.mark.integration
JOBS = 10
SECONDS_A_JOB = 9
"""Less than between two keep-alives: the stream is never quiet for so long."""


async def test_a_worker_that_is_never_idle_is_not_missing(world: PoolWorld) -> None:
    for _ in range(JOBS + 1):
        await world.create_prebuild()
    servicer = ProvisionerServicer(
        world.queue,
        world.tfstates,
        world.ends,
        RecordedHints(),
        BusHints(MemoryBus()),
        world.clock,
        ProvisionerSettings(access_url=""),
        asyncio.Event(),
    )
    principal = ServicePrincipal(kind="provisioner", key_id=world.worker.key_id)
    reset = current_principal.set(principal)
    busy = asyncio.Event()
    jobs = 0
    try:
        async for response in servicer.AcquireJobs(_wants(world, busy), None):
            if response.WhichOneof("message") == "job":
                jobs += 1
                world.clock.advance(SECONDS_A_JOB)
                if jobs == JOBS:
                    busy.set()
    finally:
        current_principal.reset(reset)
    assert jobs == JOBS
    # ONE job still waits, longer than its provisioner may be silent
    untaken = await NotificationQueue(world.database).look_for_untaken_jobs(
        PROVISIONER_SEEN, PROVISIONER_SEEN, world.clock.now()
    )
    assert untaken == 0


async def _wants(world: PoolWorld, end: asyncio.Event) -> AsyncGenerator[pb.AcquireJobsRequest]:
    message = pb.AcquireJobsRequest()
    message.register.worker_id = str(world.worker.id)
    message.register.provisioner_types.append("process")
    yield message
    message = pb.AcquireJobsRequest()
    message.want.count = JOBS
    yield message
    await end.wait()
