"""What a run before left is renewed, and what cannot be is said."""

from __future__ import annotations

import grpc
import pytest

from testkit.fake_control import FakeControl, Refusal
from warmpool.common.v1.types_pb2 import Transition
from warmpool.control.v1.pools_pb2 import (
    InvalidatePoolRequest,
    InvalidatePoolResponse,
    ListPoolsResponse,
    Pool,
)
from warmpool.control.v1.workspaces_pb2 import (
    ListWorkspacesResponse,
    Workspace,
    WorkspaceAgent,
    WorkspaceBuild,
)
from warmpool_cli.client import open_client
from warmpool_cli.connection import Connection
from warmpool_cli.local.renewal import renew_pools

pytestmark = pytest.mark.integration


def a_workspace(name: str, transition: Transition.ValueType, agents: int = 1) -> Workspace:
    return Workspace(
        owner_name="admin",
        name=name,
        latest_build=WorkspaceBuild(transition=transition),
        agents=[WorkspaceAgent(name="main")] * agents,
    )


async def renew(control: FakeControl) -> list[str]:
    notes: list[str] = []
    connection = Connection(address=control.address, token=control.token, source="this test")
    async with open_client(connection) as client:
        await renew_pools(client, notes.append)
    return notes


async def test_every_template_once_and_the_workspaces_that_sleep(control: FakeControl):
    pools = [Pool(template_name=template) for template in ("b", "a", "b")]
    start, stop = Transition.TRANSITION_START, Transition.TRANSITION_STOP
    control.on("ListPools", ListPoolsResponse(pools=pools))
    control.on("InvalidatePool", InvalidatePoolResponse(invalidated=2))
    control.on(
        "ListWorkspaces",
        ListWorkspacesResponse(
            workspaces=[
                a_workspace("runs", start),
                a_workspace("stopped", stop),
                a_workspace("bare", start, agents=0),
            ]
        ),
    )

    notes = await renew(control)

    assert control.asked(InvalidatePoolRequest) == [
        InvalidatePoolRequest(template="a"),
        InvalidatePoolRequest(template="b"),
    ]
    assert notes == [
        "4 prebuilds of the run before: being replaced",
        "1 workspace of the run before without an agent; each comes back by "
        "`warmpool stop admin/runs`, then `warmpool start admin/runs`",
    ]


async def test_a_new_system_has_nothing_to_renew(control: FakeControl):
    control.on("ListPools", ListPoolsResponse())

    assert await renew(control) == []


async def test_what_is_refused_is_said_and_stops_nothing(control: FakeControl):
    control.on("ListPools", Refusal(code=grpc.StatusCode.INTERNAL, message="no"))

    assert await renew(control) == ["the pools of the run before were not renewed: no"]
