"""What a build's end leaves behind: a claim that destroyed what was warmed is told of, once."""

from __future__ import annotations

from uuid import UUID

import pytest

from reconciler.core.builds import BuiltAgent, BuiltWorkspace, describe_replacements
from reconciler.core.jobs import AcquiredJob
from testkit.pool_world import PoolWorld, token_hash

pytestmark = pytest.mark.integration

REPLACED = (("docker_container.main", ("env", "name")), ("terraform_data.token", ()))


async def test_a_claim_that_replaces_is_counted_once_and_told_to_admins_once(
    world: PoolWorld,
) -> None:
    workspace_id = await world.ready_prebuild()
    await world.claim()
    job = await world.acquire()
    assert await _complete(world, job, REPLACED) is not None
    assert await _complete(world, job, REPLACED) is None  # said twice, known once
    claims = await world.fetch("SELECT workspace_id, has_replacements FROM claims")
    assert claims == [{"workspace_id": workspace_id, "has_replacements": True}]
    (told,) = await world.fetch("SELECT kind, message FROM notifications")
    (name,) = await world.fetch("SELECT name FROM workspaces WHERE id = $1", workspace_id)
    assert told == {
        "kind": "claim.resources_replaced",
        "message": f'The claim of workspace "{name["name"]}" replaced what the pool had warmed'
        ' (template "dev", preset "standard"): docker_container.main (env, name);'
        " terraform_data.token (no attribute). Such attributes must not depend on the owner, or"
        " belong in the resource's ignore_changes.",
    }
    # AND each claim is told of
    other = await world.ready_prebuild()
    await world.claim()
    await _complete(world, await world.acquire(), REPLACED)
    assert len(await world.fetch("SELECT key FROM notifications")) == 2
    assert other != workspace_id


async def test_a_claim_that_keeps_everything_tells_nobody(world: PoolWorld) -> None:
    await world.ready_prebuild()
    await world.claim()
    await _complete(world, await world.acquire(), ())
    assert await world.fetch("SELECT has_replacements FROM claims") == [{"has_replacements": False}]
    assert await world.fetch("SELECT key FROM notifications") == []


def test_a_long_list_is_a_short_sentence() -> None:
    many = [(f"terraform_data.n{n}", ["x" * 1000] * 50) for n in range(500)]
    said = describe_replacements(many, workspace="w", template="t", preset="p")
    assert "; 490 more. Such" in said
    assert len(said) < 25_000


async def _complete(
    world: PoolWorld, job: AcquiredJob, replaced: tuple[tuple[str, tuple[str, ...]], ...]
) -> object:
    assert job.build is not None
    agent = BuiltAgent(
        id=UUID(int=job.build.workspace_id.int ^ 1),
        name="main",
        token_hash=token_hash(job.build.workspace_id),
        manifest={"directory": "", "env": {}, "scripts": [], "apps": []},
    )
    built = BuiltWorkspace(agents=(agent,), replacements=replaced)
    return await world.ends.complete_build(job.id, job.attempt, None, built, (), world.clock.now())
