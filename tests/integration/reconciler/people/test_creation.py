"""For whom a workspace is made, who counts as the one who asked, and why a pool was missed."""

from __future__ import annotations

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from testkit.office import TRACE, TRACE_ID, Office, code_of, refused
from warmpool.control.v1 import people_pb2
from warmpool.control.v1 import workspaces_pb2 as pb

pytestmark = pytest.mark.integration


def create(owner: str = "", name: str = "", request_id: str = "") -> pb.CreateWorkspaceRequest:
    return pb.CreateWorkspaceRequest(
        template="dev", preset="standard", owner=owner, name=name, request_id=request_id
    )


async def test_a_claim_counts_as_the_claimants_job_and_never_the_pools(office: Office) -> None:
    await office.world.ready_prebuild()
    grace = await office.join("grace")
    answer = await grace.workspaces.CreateWorkspace(create(name="mine", request_id="r1"))
    assert (answer.warm, answer.pool_miss) == (True, pb.POOL_MISS_UNSPECIFIED)
    again = await grace.workspaces.CreateWorkspace(create(name="mine", request_id="r1"))
    assert (again.warm, again.workspace.id) == (True, answer.workspace.id)
    jobs = await office.world.fetch(
        "SELECT u.username, j.is_system, b.stage, b.number FROM jobs j"
        " JOIN workspace_builds b ON b.job_id = j.id JOIN users u ON u.id = j.initiator_id"
        " ORDER BY b.number"
    )
    assert jobs == [
        {"username": "prebuilds", "is_system": True, "stage": "create", "number": 1},
        {"username": "grace", "is_system": False, "stage": "claim", "number": 2},
    ]


async def test_an_empty_pool_is_said_and_the_workspace_is_built_cold(office: Office) -> None:
    grace = await office.join("grace")
    answer = await grace.workspaces.CreateWorkspace(create(name="mine"), metadata=TRACE)
    assert (answer.warm, answer.pool_miss) == (False, pb.POOL_MISS_EMPTY)
    assert answer.pool_miss_message
    assert await office.audit("workspace.create", "workspace.claim") == [
        {
            "actor": "grace",
            "action": "workspace.create",
            "target": ("workspace", answer.workspace.id),
            "details": {
                "name": "mine",
                "owner_id": str(await office.user_id("grace")),
                "template_id": str(office.world.template_id),
                "pool_miss": "empty",
            },
            "trace_id": TRACE_ID,
        }
    ]
    again = await refused(grace.workspaces.CreateWorkspace(create(name="mine")))
    assert (again.code.name, again.reason) == ("ALREADY_EXISTS", "NAME_TAKEN")
    assert len(await office.audit("workspace.create")) == 1


async def test_an_owner_makes_one_for_a_member_who_then_may_use_it(office: Office) -> None:
    owner, grace = await office.calling(), await office.join("grace")
    await office.world.ready_prebuild()
    answer = await owner.workspaces.CreateWorkspace(create(owner="grace", name="given"))
    assert (answer.warm, answer.workspace.owner_name) == (True, "grace")
    found = await grace.workspaces.ListWorkspaces(pb.ListWorkspacesRequest())
    assert [workspace.name for workspace in found.workspaces] == ["given"]
    (deed,) = await office.audit("workspace.claim")
    assert (deed["actor"], deed["details"]["owner_id"]) == (
        "admin",
        str(await office.user_id("grace")),
    )


async def test_nobody_gets_one_who_could_not_own_it(office: Office) -> None:
    owner = await office.calling()
    await owner.people.CreateOrganization(people_pb2.CreateOrganizationRequest(name="moon"))
    await office.join("neil", organization="moon")
    grace = await office.join("grace")
    for name, code, reason in (
        ("prebuilds", "INVALID_ARGUMENT", "OWNER_IS_THE_POOL"),
        ("neil", "FAILED_PRECONDITION", "NOT_A_MEMBER"),
    ):
        error = await refused(owner.workspaces.CreateWorkspace(create(owner=name)))
        assert (error.code.name, error.reason, error.field) == (code, reason, "owner")
    assert await code_of(grace.workspaces.CreateWorkspace(create(owner="admin"))) == (
        "PERMISSION_DENIED"
    )
    assert await office.world.fetch("SELECT count(*) FROM workspaces") == [{"count": 0}]


async def test_prebuilds_are_listed_only_when_asked_for(office: Office) -> None:
    pooled = await office.world.ready_prebuild()
    workspaces = (await office.calling()).workspaces
    everybody = pb.ListWorkspacesRequest(owner="*")
    assert list((await workspaces.ListWorkspaces(everybody)).workspaces) == []
    everybody.include_system = True
    found = (await workspaces.ListWorkspaces(everybody)).workspaces
    assert [(w.id, w.is_prebuild, w.owner_id) for w in found] == [
        (str(pooled), True, str(SYSTEM_USER_ID))
    ]
