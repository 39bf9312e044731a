"""What agents run holds secrets: none lies in clear once nobody needs it so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from reconciler.core.builds import BuiltAgent, BuiltWorkspace
from reconciler.core.checks import ManifestsView
from reconciler.loops.leadership import SEALING_LOCK
from reconciler.loops.sealing import SealingLoop
from reconciler.store.cipher import StateCipher
from reconciler.store.gateway import Agents
from reconciler.store.manifests import Manifests, seal_manifest
from reconciler.store.system import SystemViews
from svckit.errors import FailedPrecondition, Unauthenticated
from svckit.system import SystemEntropy
from testkit.pool_world import PoolWorld, new_ids, token_hash

pytestmark = pytest.mark.integration

MANIFEST: dict[str, Any] = {
    "directory": "",
    "env": {"DB_PASSWORD": "hunter2"},
    "scripts": [],
    "apps": [],
}
OLD_WRITES = "UPDATE agents SET manifest = $1"


def a_loop(world: PoolWorld, cipher: StateCipher) -> SealingLoop:
    manifests = Manifests(world.database, cipher)
    return SealingLoop(world.database, manifests, world.clock, SystemEntropy())


async def built(world: PoolWorld) -> UUID:
    """A prebuild whose agent has a secret to keep."""
    workspace_id = await world.create_prebuild()
    job = await world.acquire()
    agent = BuiltAgent(
        id=UUID(int=workspace_id.int ^ 1),
        name="main",
        token_hash=token_hash(workspace_id),
        manifest=MANIFEST,
    )
    workspace = BuiltWorkspace(agents=(agent,))
    now = world.clock.now()
    assert await world.ends.complete_build(job.id, job.attempt, None, workspace, (), now)
    return workspace_id


async def stored(world: PoolWorld) -> list[tuple[object, bytes | None]]:
    rows = await world.fetch("SELECT manifest, manifest_sealed AS sealed FROM agents ORDER BY id")
    return [(row["manifest"], row["sealed"]) for row in rows]  # type: ignore[misc]


async def test_a_manifest_is_stored_encrypted_and_given_to_its_agent(world: PoolWorld) -> None:
    workspace_id = await built(world)
    ((plain, sealed),) = await stored(world)
    assert plain == {}
    assert sealed is not None
    assert b"hunter2" not in sealed
    given = await world.agents.get_manifest(token_hash(workspace_id))
    assert given.content == MANIFEST
    # AND without its key it is given to nobody, and the operator hears of it
    lost = StateCipher([b"x" * 32])
    with pytest.raises(FailedPrecondition, match=r"manifest of agent .* state_key_file does not"):
        await Agents(world.database, lost, agent_timeout=timedelta(seconds=1)).get_manifest(
            token_hash(workspace_id)
        )
    assert await Manifests(world.database, lost).count_unreadable() == 1
    # AND under a new first key the old one still opens what it sealed
    both = StateCipher([b"x" * 32, b"k" * 32])
    assert await Manifests(world.database, both).count_unreadable() == 0
    agents = Agents(world.database, both, agent_timeout=timedelta(seconds=1))
    assert (await agents.get_manifest(token_hash(workspace_id))).content == MANIFEST


async def test_beside_the_release_before_manifests_are_written_where_it_reads_them(
    world: PoolWorld,
) -> None:
    # GIVEN a database from before, whose old replicas still run
    await world.execute("DELETE FROM settings WHERE name = 'manifests_are_sealed'")
    mine, theirs = await built(world), await built(world)
    assert await stored(world) == [(MANIFEST, None)] * 2
    # WHEN the operator says that they are gone, everything that lay in clear is encrypted, once
    manifests = Manifests(world.database, world.cipher)
    assert await manifests.seal_all() == 0  # not yet
    await manifests.seal_from_now_on(world.clock.now())
    assert await manifests.seal_all() == 2
    assert await manifests.seal_all() == 0
    assert [plain for plain, _ in await stored(world)] == [{}, {}]
    assert (await world.agents.get_manifest(token_hash(mine))).content == MANIFEST
    # AND what is built from now on is never in clear
    await built(world)
    assert [plain for plain, _ in await stored(world)] == [{}, {}, {}]
    # AND a replica of before that was overlooked is not ignored: what it wrote is the newer word
    newer = MANIFEST | {"env": {"DB_PASSWORD": "hunter3"}}
    await world.execute(OLD_WRITES, newer)
    assert (await world.agents.get_manifest(token_hash(theirs))).content == newer


async def test_what_was_stored_without_a_key_is_encrypted_once_there_is_one(
    world: PoolWorld,
) -> None:
    # GIVEN an installation that was allowed to have no key
    plainly = StateCipher([])
    workspace_id = await built(world)
    await world.execute(
        "UPDATE agents SET manifest_sealed = $1", seal_manifest(plainly, UUID(int=0), MANIFEST)
    )
    await built(world)
    views = SystemViews(world.database)
    assert await views.get_manifests() == ManifestsView(are_sealed=True, plain=1)
    assert await a_loop(world, plainly).run_once() == 0
    # WHEN it has one, a loop encrypts what lies in clear and nothing else
    assert await a_loop(world, world.cipher).run_once() == 1
    assert await a_loop(world, world.cipher).run_once() == 0
    sealed = [each for _, each in await stored(world)]
    assert not any(b"hunter2" in (each or b"hunter2") for each in sealed)
    given = await world.agents.get_manifest(token_hash(workspace_id))
    assert given.content == MANIFEST
    assert await views.get_manifests() == ManifestsView(are_sealed=True, plain=0)


async def test_one_replica_at_a_time_encrypts_and_needs_no_restart(world: PoolWorld) -> None:
    await world.execute("DELETE FROM settings WHERE name = 'manifests_are_sealed'")
    await built(world)
    views = SystemViews(world.database)
    assert await views.get_manifests() == ManifestsView(are_sealed=False, plain=1)
    loop = a_loop(world, world.cipher)
    assert await loop.run_once() == 0
    await Manifests(world.database, StateCipher([])).seal_from_now_on(world.clock.now())
    async with world.database.try_lock(SEALING_LOCK):
        assert await loop.run_once() == 0
    assert await loop.run_once() == 1


async def test_nothing_is_kept_of_what_an_agent_ran_that_is_no_more(world: PoolWorld) -> None:
    workspace_id = await built(world)
    await world.pools.delete_prebuild(workspace_id, "extraneous", new_ids(), world.clock.now())
    deleting = await world.acquire()
    now = world.clock.now()
    await world.ends.complete_build(deleting.id, 1, None, BuiltWorkspace(), (), now)
    assert await stored(world) == [({}, None)]
    with pytest.raises(Unauthenticated):
        await world.agents.get_manifest(token_hash(workspace_id))
