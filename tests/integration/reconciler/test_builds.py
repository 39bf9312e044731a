"""What a build's end leaves behind: a claim that destroyed what was warmed is told of, once."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from reconciler.core.aftermath import Aftermath
from reconciler.core.builds import BuiltAgent, BuiltWorkspace, describe_replacements
from reconciler.core.dryruns import Findings
from reconciler.core.jobs import AcquiredJob, JobKind
from reconciler.wire.jobs import encode_job
from svckit.errors import NotFound
from testkit.pool_world import PoolWorld, token_hash
from warmpool.provisioner.v1.provisioner_pb2 import PREBUILD_STAGE_CLAIM

pytestmark = pytest.mark.integration

REPLACED = (("docker_container.main", ("env", "name")), ("terraform_data.token", ()))


async def test_a_claim_that_replaces_is_counted_once_and_told_to_admins_once_a_day(
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
    # AND another claim from the pool is no news on this day of UTC, but it is on the next
    for hours, total in ((23, 1), (1, 2)):
        world.clock.advance(hours * 3600)
        await world.ready_prebuild()
        await world.claim()
        await _complete(world, await world.acquire(), REPLACED)
        assert len(await world.fetch("SELECT key FROM notifications")) == total


async def test_a_claim_that_keeps_everything_tells_nobody(world: PoolWorld) -> None:
    await world.ready_prebuild()
    await world.claim()
    await _complete(world, await world.acquire(), ())
    assert await world.fetch("SELECT has_replacements FROM claims") == [{"has_replacements": False}]
    assert await world.fetch("SELECT key FROM notifications") == []


async def test_the_first_prebuild_of_a_terraform_preset_is_rehearsed_once(
    world: PoolWorld,
) -> None:
    await world.execute("UPDATE templates SET provisioner_type = 'terraform'")
    world.worker = replace(world.worker, provisioner_types=("terraform",))
    for _ in range(2):
        workspace_id = await world.create_prebuild()
        created = await world.acquire()
        await world.tfstates.keep(created.id, created.attempt, None, b'{"made": 1}')
        aftermath = await _complete(world, created, ())
        assert aftermath is not None
        if not await _rehearsals(world, "pending"):
            continue
        # THEN somebody is woken to plan a claim by nobody, upon what was made
        assert aftermath.requeued == "terraform"
        job = await world.acquire()
        assert (job.kind, job.workspace_id) == (JobKind.DRY_RUN, None)
        assert job.build is not None
        assert created.build is not None
        assert (job.build.workspace_id, job.build.stage) == (workspace_id, "claim")
        assert (job.build.username, job.build.template_id) == ("rehearsal", world.template_id)
        assert job.build.owner_id != created.build.owner_id
        assert await world.tfstates.read(job.id, job.attempt, None) == b'{"made": 1}'
        with pytest.raises(NotFound):  # it plans and no more
            await world.tfstates.keep(job.id, job.attempt, None, b"{}")
        now = world.clock.now()
        message = encode_job(job, heartbeat_seconds=1.0, hung_seconds=300.0, access_url="http://gw")
        assert message.template_dry_run.rehearsal.stage == PREBUILD_STAGE_CLAIM
        # AND template admins are told, before anybody has claimed
        assert await world.ends.complete_dry_run(
            job.id, job.attempt, None, Findings(replacements=REPLACED), (), now
        )
    assert len(await _rehearsals(world, "succeeded")) == 1
    assert await world.fetch("SELECT kind, message FROM notifications") == [
        {
            "kind": "claim.would_replace",
            "message": 'A claim of a prebuild of template "dev", version "v1", preset "standard"'
            " would replace what the pool has warmed: docker_container.main (env, name);"
            " terraform_data.token (no attribute). Such attributes must not depend on the owner,"
            " or belong in the resource's ignore_changes.",
        }
    ]


async def test_a_process_and_a_version_of_yesterday_are_not_rehearsed(world: PoolWorld) -> None:
    await world.create_prebuild()
    await _complete(world, await world.acquire(), ())
    await world.execute("UPDATE templates SET provisioner_type = 'terraform'")
    world.worker = replace(world.worker, provisioner_types=("terraform",))
    await world.create_prebuild()
    await world.execute("UPDATE templates SET active_version_id = NULL")
    await _complete(world, await world.acquire(), ())
    assert await _rehearsals(world, "pending") == []


async def _rehearsals(world: PoolWorld, status: str) -> list[dict[str, object]]:
    return await world.fetch(
        "SELECT id FROM jobs WHERE rehearsed_build_id IS NOT NULL AND status = $1", status
    )


def test_a_long_list_is_a_short_sentence() -> None:
    many = [(f"terraform_data.n{n}", ["x" * 1000] * 50) for n in range(500)]
    said = describe_replacements(many, workspace="w", template="t", preset="p")
    assert "; 490 more. Such" in said
    assert len(said) < 25_000


async def _complete(
    world: PoolWorld, job: AcquiredJob, replaced: tuple[tuple[str, tuple[str, ...]], ...]
) -> Aftermath | None:
    assert job.build is not None
    agent = BuiltAgent(
        id=UUID(int=job.build.workspace_id.int ^ 1),
        name="main",
        token_hash=token_hash(job.build.workspace_id),
        manifest={"directory": "", "env": {}, "scripts": [], "apps": []},
    )
    built = BuiltWorkspace(agents=(agent,), replacements=replaced)
    return await world.ends.complete_build(job.id, job.attempt, None, built, (), world.clock.now())
