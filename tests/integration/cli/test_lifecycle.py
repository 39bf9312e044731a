"""schedule set, schedule show, bump, template policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from testkit.fake_control import FakeControl
from warmpool.control.v1.templates_pb2 import (
    GetTemplateRequest,
    GetTemplateResponse,
    SetTemplatePolicyRequest,
    SetTemplatePolicyResponse,
    Template,
    TemplatePolicy,
)
from warmpool.control.v1.workspaces_pb2 import (
    BumpWorkspaceRequest,
    BumpWorkspaceResponse,
    GetWorkspaceResponse,
    SetWorkspaceLifecycleRequest,
    SetWorkspaceLifecycleResponse,
    Workspace,
    WorkspaceLifecycle,
)

pytestmark = pytest.mark.integration
Cli = Callable[..., Awaitable[Any]]
ID = "0d9b1d4e-6f0e-4c1c-8a41-3d3a86c1d1a5"
POLICY = TemplatePolicy(default_ttl_seconds=28_800, allow_autostart=True)


def a_workspace(**lifecycle: Any) -> Workspace:
    return Workspace(id=ID, name="dev", owner_name="ada", lifecycle=WorkspaceLifecycle(**lifecycle))


async def test_what_is_given_is_set_and_nothing_else(cli: Cli, control: FakeControl) -> None:
    deadline = Timestamp()
    deadline.FromDatetime(datetime(2035, 1, 1, tzinfo=UTC))
    after = a_workspace(
        autostart_cron="30 8 * * 1-5",
        autostart_timezone="Europe/Berlin",
        ttl_seconds=30_600,
        deadline_at=deadline,
    )
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=a_workspace()))
    control.on("SetWorkspaceLifecycle", SetWorkspaceLifecycleResponse(workspace=after))

    ran = await cli(
        *("schedule", "set", "dev", "--autostart", "30 8 * * 1-5"),
        *("--timezone", "Europe/Berlin", "--ttl", "8h"),
    )

    assert ran.code == 0
    assert control.requests[-1] == SetWorkspaceLifecycleRequest(
        workspace_id=ID,
        autostart_cron="30 8 * * 1-5",
        autostart_timezone="Europe/Berlin",
        ttl_seconds=28_800,
    )
    assert "ada/dev" in ran.out
    assert "30 8 * * 1-5 (Europe/Berlin)" in ran.out
    assert "8h 30m after a start" in ran.out
    assert "next stop" in ran.out


async def test_never_ends_what_was_set(cli: Cli, control: FakeControl) -> None:
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=a_workspace()))
    control.on("SetWorkspaceLifecycle", SetWorkspaceLifecycleResponse(workspace=a_workspace()))
    ran = await cli(
        "schedule", "set", "dev", "--autostart", "never", "--ttl", "never", "--awake", "-o", "json"
    )
    assert control.requests[-1] == SetWorkspaceLifecycleRequest(
        workspace_id=ID, autostart_cron="", ttl_seconds=0, dormant=False
    )
    assert ran.document["id"] == ID


async def test_a_prebuild_is_shown_to_have_no_schedule(cli: Cli, control: FakeControl) -> None:
    pooled = Workspace(id=ID, name="prebuild-x", owner_name="prebuilds", is_prebuild=True)
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=pooled))
    ran = await cli("schedule", "show", ID)
    assert (ran.code, ran.out) == (
        0,
        "prebuilds/prebuild-x is a prebuild: its pool decides, and it does nothing by itself\n",
    )


async def test_bump_moves_the_stop(cli: Cli, control: FakeControl) -> None:
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=a_workspace()))
    control.on("BumpWorkspace", BumpWorkspaceResponse(workspace=a_workspace(ttl_seconds=60)))
    ran = await cli("bump", "dev", "--extend", "2h")
    assert control.requests[-1] == BumpWorkspaceRequest(workspace_id=ID, extend_seconds=7200)
    assert "1m after a start" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("schedule", "set", "dev"),
        ("schedule", "set", "dev", "--ttl", "soon"),
        ("schedule", "set", "dev", "--ttl", ""),
        ("bump", "dev", "--extend", "-1h"),
        ("template", "policy", "dev", "--max-ttl", "8"),
    ],
)
async def test_what_makes_no_sense_is_not_asked(
    cli: Cli, control: FakeControl, arguments: tuple[str, ...]
) -> None:
    ran = await cli(*arguments)
    assert (ran.code, ran.out, control.requests) == (2, "", [])
    assert ran.err.count("\n") == 2


async def test_a_policy_is_shown(cli: Cli, control: FakeControl) -> None:
    control.on("GetTemplate", GetTemplateResponse(template=Template(name="dev", policy=POLICY)))
    ran = await cli("template", "policy", "dev")
    assert control.requests == [GetTemplateRequest(template="dev")]
    assert "8h after a start, unless its owner sets it" in ran.out
    assert "as people set it" in ran.out


async def test_a_policy_keeps_what_is_not_given(cli: Cli, control: FakeControl) -> None:
    control.on("GetTemplate", GetTemplateResponse(template=Template(name="dev", policy=POLICY)))
    wanted = TemplatePolicy(default_ttl_seconds=28_800, dormant_after_seconds=604_800)
    control.on(
        "SetTemplatePolicy",
        SetTemplatePolicyResponse(template=Template(name="dev", policy=wanted)),
    )
    ran = await cli("template", "policy", "dev", "--dormant-after", "7d", "--no-autostart")
    assert control.requests[-1] == SetTemplatePolicyRequest(template="dev", policy=wanted)
    assert "7d after it was last used" in ran.out
    assert "not allowed" in ran.out
