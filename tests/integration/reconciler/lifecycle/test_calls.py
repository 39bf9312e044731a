"""Lifecycles and policies over the API: what is answered, and who is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from testkit.office import TRACE, TRACE_ID, Office, code_of, refused, serve_office
from testkit.pool_world import PoolWorld
from warmpool.common.v1.types_pb2 import TRANSITION_STOP
from warmpool.control.v1 import templates_pb2 as templates
from warmpool.control.v1 import workspaces_pb2 as pb

pytestmark = pytest.mark.integration


@pytest.fixture
async def office(world: PoolWorld) -> AsyncGenerator[Office]:
    async with serve_office(world) as office:
        yield office


async def create(office: Office) -> pb.Workspace:
    """A running workspace of the admin's out of the pool."""
    await office.world.ready_prebuild()
    owner = (await office.calling()).workspaces
    made = await owner.CreateWorkspace(pb.CreateWorkspaceRequest(template="dev", preset="standard"))
    assert made.warm
    await office.world.complete(await office.world.acquire())
    got = await owner.GetWorkspace(pb.GetWorkspaceRequest(workspace_id=made.workspace.id))
    return got.workspace


def later(world: PoolWorld, hours: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(world.clock.now() + timedelta(hours=hours))
    return stamp


async def test_an_owner_sets_and_sees_a_lifecycle(office: Office) -> None:
    world = office.world
    await world.set_policy(activity_bump_seconds=7200, max_ttl_seconds=36_000)
    workspace = await create(office)
    owner = (await office.calling()).workspaces
    used_at = later(world, 0)
    latest = later(world, 10)
    assert workspace.lifecycle == pb.WorkspaceLifecycle(
        deadline_at=latest, max_deadline_at=latest, last_used_at=used_at
    )

    answer = await owner.SetWorkspaceLifecycle(
        pb.SetWorkspaceLifecycleRequest(
            workspace_id=workspace.id,
            autostart_cron="30 8 * * *",
            autostart_timezone="Europe/Berlin",
            ttl_seconds=3600,
        )
    )
    assert answer.workspace.lifecycle == pb.WorkspaceLifecycle(
        autostart_cron="30 8 * * *",
        autostart_timezone="Europe/Berlin",
        ttl_seconds=3600,
        deadline_at=later(world, 1),
        max_deadline_at=latest,
        last_used_at=used_at,
        next_start_at=later(world, 7.5),
    )

    details = {"autostart": "30 8 * * *", "timezone": "Europe/Berlin", "ttl_seconds": 3600}
    (entry,) = await office.audit("workspace.lifecycle")
    assert (entry["actor"], entry["target"]) == ("admin", ("workspace", workspace.id))
    assert entry["details"] == {"name": workspace.name, "dormant": None} | details
    same = pb.SetWorkspaceLifecycleRequest(workspace_id=workspace.id, ttl_seconds=3600)
    await owner.SetWorkspaceLifecycle(same)
    assert len(await office.audit("workspace.lifecycle")) == 1  # that changed nothing

    world.clock.advance(600)
    bumped = await owner.BumpWorkspace(pb.BumpWorkspaceRequest(workspace_id=workspace.id))
    assert bumped.workspace.lifecycle.deadline_at == later(world, 2)
    assert bumped.workspace.lifecycle.last_used_at == later(world, 0)
    extend = pb.BumpWorkspaceRequest(workspace_id=workspace.id, extend_seconds=86_400)
    extended = await owner.BumpWorkspace(extend)
    assert extended.workspace.lifecycle.deadline_at == latest

    rest = pb.SetWorkspaceLifecycleRequest(workspace_id=workspace.id, dormant=True)
    rested = await owner.SetWorkspaceLifecycle(rest)
    assert rested.workspace.lifecycle.dormant_at == later(world, 0)
    woken = await owner.BumpWorkspace(pb.BumpWorkspaceRequest(workspace_id=workspace.id))
    assert not woken.workspace.lifecycle.HasField("dormant_at")


async def test_a_prebuild_has_no_lifecycle_and_gets_none(office: Office) -> None:
    prebuild_id = str(await office.world.ready_prebuild())
    owner = (await office.calling()).workspaces
    seen = await owner.GetWorkspace(pb.GetWorkspaceRequest(workspace_id=prebuild_id))
    assert not seen.workspace.HasField("lifecycle")
    for call in (
        owner.SetWorkspaceLifecycle(
            pb.SetWorkspaceLifecycleRequest(workspace_id=prebuild_id, ttl_seconds=3600)
        ),
        owner.SetWorkspaceLifecycle(
            pb.SetWorkspaceLifecycleRequest(workspace_id=prebuild_id, dormant=True)
        ),
        owner.BumpWorkspace(pb.BumpWorkspaceRequest(workspace_id=prebuild_id)),
        owner.BuildWorkspace(
            pb.BuildWorkspaceRequest(workspace_id=prebuild_id, transition=TRANSITION_STOP)
        ),
    ):
        error = await refused(call)
        assert (error.code.name, error.reason, error.field) == (
            "FAILED_PRECONDITION",
            "IS_A_PREBUILD",
            "workspace_id",
        )


async def test_what_cannot_be_set_is_refused_by_its_field(office: Office) -> None:
    workspace = await create(office)
    owner = (await office.calling()).workspaces
    bad = pb.SetWorkspaceLifecycleRequest(workspace_id=workspace.id, autostart_cron="@daily")
    error = await refused(owner.SetWorkspaceLifecycle(bad))
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "autostart_cron")
    extend = pb.BumpWorkspaceRequest(workspace_id=workspace.id, extend_seconds=3600)
    error = await refused(owner.BumpWorkspace(extend))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "NO_DEADLINE")
    await office.world.set_policy(is_autostart_allowed=False)
    good = pb.SetWorkspaceLifecycleRequest(workspace_id=workspace.id, autostart_cron="0 8 * * *")
    error = await refused(owner.SetWorkspaceLifecycle(good))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "AUTOSTART_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("roles", "workspace", "policy"),
    [
        (("owner",), "OK", "OK"),
        (("template-admin",), "NOT_FOUND", "OK"),
        (("auditor",), "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ((), "NOT_FOUND", "PERMISSION_DENIED"),
    ],
)
async def test_who_sets_what(
    office: Office, roles: tuple[str, ...], workspace: str, policy: str
) -> None:
    own = await create(office)
    caller = await office.join("caller", *roles)
    bump = pb.BumpWorkspaceRequest(workspace_id=own.id)
    change = pb.SetWorkspaceLifecycleRequest(workspace_id=own.id, ttl_seconds=0)
    assert await code_of(caller.workspaces.BumpWorkspace(bump)) == workspace
    assert await code_of(caller.workspaces.SetWorkspaceLifecycle(change)) == workspace
    wanted = templates.SetTemplatePolicyRequest(
        template="dev", policy=templates.TemplatePolicy(allow_autostart=True)
    )
    assert await code_of(caller.templates.SetTemplatePolicy(wanted)) == policy


async def test_a_policy_is_set_as_a_whole_and_audited(office: Office) -> None:
    calls = (await office.calling()).templates
    before = await calls.GetTemplate(templates.GetTemplateRequest(template="dev"))
    assert before.template.policy == templates.TemplatePolicy(allow_autostart=True)
    policy = templates.TemplatePolicy(default_ttl_seconds=3600, max_ttl_seconds=7200)
    answer = await calls.SetTemplatePolicy(
        templates.SetTemplatePolicyRequest(template="dev", policy=policy), metadata=TRACE
    )
    assert answer.template.policy == policy
    (entry,) = await office.audit("template.policy")
    assert (entry["actor"], entry["trace_id"]) == ("admin", TRACE_ID)
    assert entry["target"] == ("template", str(UUID(answer.template.id)))
    assert entry["details"]["before"]["is_autostart_allowed"] is True
    assert entry["details"]["after"] == {
        "default_ttl_seconds": 3600,
        "activity_bump_seconds": 0,
        "max_ttl_seconds": 7200,
        "dormant_after_seconds": 0,
        "delete_dormant_after_seconds": 0,
        "failure_ttl_seconds": 0,
        "is_autostart_allowed": False,
    }
    wrong = templates.TemplatePolicy(default_ttl_seconds=1)
    error = await refused(
        calls.SetTemplatePolicy(templates.SetTemplatePolicyRequest(template="dev", policy=wrong))
    )
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "policy.default_ttl_seconds")
