"""Who may delete a workspace and who only prebuilds, over the API; and what the audit log keeps."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from svckit.errors import FailedPrecondition
from testkit.office import TRACE, TRACE_ID, Office, code_of, refused
from testkit.pool_world import PoolWorld
from warmpool.common.v1 import types_pb2 as common
from warmpool.control.v1 import workspaces_pb2 as pb

pytestmark = pytest.mark.integration


async def a_claimed_workspace(world: PoolWorld) -> UUID:
    await world.ready_prebuild()
    workspace_id = await world.claim()
    assert workspace_id is not None
    await world.complete(await world.acquire())
    return workspace_id


def delete(workspace_id: UUID) -> pb.DeleteWorkspaceRequest:
    return pb.DeleteWorkspaceRequest(workspace_id=str(workspace_id))


@pytest.mark.parametrize(
    ("roles", "home", "workspace", "prebuild"),
    [
        (("owner",), (), "OK", "OK"),
        ((), ("organization-admin",), "OK", "OK"),
        (("template-admin",), (), "NOT_FOUND", "OK"),
        (("auditor",), (), "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ((), (), "NOT_FOUND", "NOT_FOUND"),
    ],
)
async def test_who_deletes_what(
    office: Office, roles: tuple[str, ...], home: tuple[str, ...], workspace: str, prebuild: str
) -> None:
    claimed = await a_claimed_workspace(office.world)
    pooled = await office.world.ready_prebuild()
    caller = (await office.join("caller", *roles, home=home)).workspaces
    assert await code_of(caller.DeleteWorkspace(delete(claimed))) == workspace
    assert await code_of(caller.DeleteWorkspace(delete(pooled))) == prebuild


async def test_a_deletion_of_a_prebuild_is_all_a_template_admin_may_do_to_it(
    office: Office,
) -> None:
    pooled = await office.world.ready_prebuild()
    caller = (await office.join("caller", "template-admin")).workspaces
    build = pb.BuildWorkspaceRequest(workspace_id=str(pooled), transition=common.TRANSITION_STOP)
    assert await code_of(caller.BuildWorkspace(build)) == "PERMISSION_DENIED"

    starting = await office.world.create_prebuild()
    job_id = (await office.world.workspaces.get(starting, office.world.clock.now())).job_id
    cancel = pb.CancelJobRequest(job_id=str(job_id))
    member = (await office.join("member")).workspaces
    assert await code_of(member.CancelJob(cancel)) == "NOT_FOUND"
    assert await code_of(caller.CancelJob(cancel)) == "OK"


async def test_nobody_deletes_as_a_prebuild_what_was_claimed_meanwhile(office: Office) -> None:
    world = office.world
    pooled = await world.ready_prebuild()
    assert await world.claim() == pooled
    await world.complete(await world.acquire())
    with pytest.raises(FailedPrecondition, match="has changed hands"):
        await world.workspaces.queue_build(
            pooled,
            SYSTEM_USER_ID,  # whose it was when the permission was looked up
            transition="delete",
            version_id=None,
            parameters=None,
            initiator_id=await office.user_id("admin"),
            build_id=uuid4(),
            job_id=uuid4(),
            traceparent="",
            now=world.clock.now(),
        )
    assert not await world.is_in_pool(pooled)


async def test_a_deletion_is_audited_with_its_claim(office: Office) -> None:
    world = office.world
    await world.ready_prebuild()
    owner = (await office.calling()).workspaces
    created = await owner.CreateWorkspace(
        pb.CreateWorkspaceRequest(template="dev", preset="standard", name="mine"), metadata=TRACE
    )
    assert created.warm
    workspace_id = UUID(created.workspace.id)
    await world.complete(await world.acquire())
    await owner.DeleteWorkspace(delete(workspace_id), metadata=TRACE)
    error = await refused(owner.DeleteWorkspace(delete(workspace_id)))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "BUILD_ACTIVE")

    target = ("workspace", str(workspace_id))
    assert await office.audit("workspace.claim", "workspace.delete") == [
        {
            "actor": "admin",
            "action": "workspace.claim",
            "target": target,
            "details": {
                "name": "mine",
                "owner_id": str(await office.user_id("admin")),
                "template_id": str(world.template_id),
                "preset_id": str(world.preset_id),
            },
            "trace_id": TRACE_ID,
        },
        {
            "actor": "admin",
            "action": "workspace.delete",
            "target": target,
            "details": {"name": "mine", "owner": "admin"},
            "trace_id": TRACE_ID,
        },
    ]
