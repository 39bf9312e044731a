"""A worker whose key is revoked while its stream is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from bus.memory import MemoryBus
from reconciler.core.permissions import ServicePrincipal
from reconciler.loops.hints import BusHints
from reconciler.rpc.provisioner import ProvisionerServicer, ProvisionerSettings
from svckit.auth import current_principal
from svckit.errors import Unauthenticated
from testkit.pool_world import PoolWorld, RecordedHints
from warmpool.provisioner.v1 import provisioner_pb2 as pb

pytestmark = pytest.mark.integration


async def test_a_worker_whose_key_was_revoked_gets_no_job_and_is_sent_away(
    world: PoolWorld,
) -> None:
    now = world.clock.now()
    await world.queue.register(world.worker, now)
    await world.create_prebuild()
    await world.execute("UPDATE service_keys SET revoked_at = created_at")
    assert await world.queue.acquire(world.worker, now) is None
    with pytest.raises(Unauthenticated) as raised:
        await world.queue.register(world.worker, now)
    assert raised.value.reason == "TOKEN_REFUSED"
    await world.execute("UPDATE service_keys SET revoked_at = NULL")
    assert await world.queue.acquire(world.worker, now) is not None


async def test_the_stream_of_a_worker_whose_key_was_revoked_ends_and_says_so(
    world: PoolWorld,
) -> None:
    servicer = ProvisionerServicer(
        world.queue,
        world.tfstates,
        world.ends,
        RecordedHints(),
        BusHints(MemoryBus()),
        world.clock,
        ProvisionerSettings(access_url="", poll_seconds=0.01, keep_alive_seconds=0),
        asyncio.Event(),
    )
    principal = ServicePrincipal(kind="provisioner", key_id=world.worker.key_id)
    reset = current_principal.set(principal)
    try:
        async with aclosing(servicer.AcquireJobs(_register(world), None)) as responses:
            first = await anext(responses)
            await world.execute("UPDATE service_keys SET revoked_at = created_at")
            with pytest.raises(Unauthenticated, match="it was revoked"):
                await _exhaust(responses)
    finally:
        current_principal.reset(reset)
    assert first.WhichOneof("message") == "keep_alive"


async def _exhaust(responses: AsyncGenerator[pb.AcquireJobsResponse]) -> None:
    async for _ in responses:
        pass


async def _register(world: PoolWorld) -> AsyncGenerator[pb.AcquireJobsRequest]:
    message = pb.AcquireJobsRequest()
    message.register.worker_id = str(world.worker.id)
    message.register.provisioner_types.append("process")
    yield message
    await asyncio.Event().wait()
