"""A worker whose key is revoked while its stream is open."""

from __future__ import annotations

import pytest

from svckit.errors import Unauthenticated
from testkit.pool_world import PoolWorld

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
