"""What operators are answered about pools that have stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from uuid import uuid4

import pytest

from bus.memory import MemoryBus
from reconciler.core.permissions import UserPrincipal
from reconciler.core.pools import PoolSettings
from reconciler.loops.hints import BusHints
from reconciler.rpc.pools import PoolServicer
from svckit.auth import current_principal
from svckit.errors import FailedPrecondition
from testkit.pool_world import PoolWorld, RecordedHints
from warmpool.control.v1 import pools_pb2 as pb

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
