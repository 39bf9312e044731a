"""People on a system of real processes: from a first token to what is kept of their claim."""

from __future__ import annotations

import json
from uuid import uuid4

import grpc
import pytest

from svckit.channel import open_channel
from testkit.system import RunningSystem
from warmpool.control.v1 import people_pb2 as pb
from warmpool.control.v1.workspaces_pb2 import CreateWorkspaceRequest, DeleteWorkspaceRequest
from warmpool.control.v1.workspaces_pb2_grpc import WorkspaceServiceStub

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
POOL = """
[[presets]]
name = "pool"
default = true
[presets.prebuilds]
instances = 1

[[agents]]
name = "main"
"""


async def test_a_new_users_claim_is_theirs_and_is_kept_with_their_name(
    running_system: RunningSystem,
):
    template, username = f"t-{uuid4().hex[:12]}", f"u-{uuid4().hex[:12]}"
    await running_system.push(template, POOL)
    await running_system.wait_warm(template)
    people = running_system.client.people
    await people.CreateUser(pb.CreateUserRequest(username=username))
    token = await people.CreateToken(pb.CreateTokenRequest(username=username, name="e2e"))

    async with open_channel(running_system.client.address, token=token.secret) as channel:
        workspaces = WorkspaceServiceStub(channel)
        answer = await workspaces.CreateWorkspace(CreateWorkspaceRequest(template=template))
        assert (answer.warm, answer.workspace.owner_name) == (True, username)
        await running_system.wait_applied(answer.workspace.id, seconds=20)
        await running_system.wait_warm(template)
        (prebuild, *_) = await running_system.prebuilds(template)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await workspaces.DeleteWorkspace(DeleteWorkspaceRequest(workspace_id=prebuild.id))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    log = await people.ListAudit(pb.ListAuditRequest(page_size=500))
    (claim,) = [e for e in log.entries if e.target_id == answer.workspace.id]
    assert (claim.actor, claim.action, len(claim.trace_id)) == (username, "workspace.claim", 32)
    assert json.loads(claim.details_json)["name"] == answer.workspace.name
