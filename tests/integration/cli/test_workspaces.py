"""create, list, show, start, stop, delete, logs, whoami, version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from testkit.fake_control import FakeControl, Refusal, Stream
from warmpool.common.v1.types_pb2 import (
    JobStatus,
    LogLevel,
    LogLine,
    ParameterValue,
    Transition,
)
from warmpool.control.v1.system_pb2 import GetSystemResponse, WhoAmIResponse
from warmpool.control.v1.templates_pb2 import (
    GetTemplateVersionRequest,
    GetTemplateVersionResponse,
    ListTemplateVersionsRequest,
    ListTemplateVersionsResponse,
    Parameter,
    TemplateVersion,
)
from warmpool.control.v1.workspaces_pb2 import (
    BuildWorkspaceRequest,
    BuildWorkspaceResponse,
    Claim,
    CreateWorkspaceRequest,
    CreateWorkspaceResponse,
    DeleteWorkspaceResponse,
    GetWorkspaceResponse,
    ListWorkspacesRequest,
    ListWorkspacesResponse,
    PoolMiss,
    WatchJobLogsRequest,
    WatchJobLogsResponse,
    WatchWorkspaceResponse,
    Workspace,
    WorkspaceAgent,
    WorkspaceBuild,
)
from warmpool_cli.output import as_json

pytestmark = pytest.mark.integration
Cli = Callable[..., Awaitable[Any]]
ID = "0d9b1d4e-6f0e-4c1c-8a41-3d3a86c1d1a5"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
RUNNING = JobStatus.JOB_STATUS_RUNNING
SUCCEEDED = JobStatus.JOB_STATUS_SUCCEEDED
FAILED = JobStatus.JOB_STATUS_FAILED


def a_stamp(milliseconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(START + timedelta(milliseconds=milliseconds))
    return stamp


def a_workspace(
    status: JobStatus.ValueType = SUCCEEDED,
    *,
    transition: Transition.ValueType = Transition.TRANSITION_START,
    claim: Claim | None = None,
    error: str = "",
) -> Workspace:
    return Workspace(
        id=ID,
        name="web",
        owner_name="ann",
        template_name="demo",
        preset_name="Standard",
        created_at=a_stamp(0),
        agents=[WorkspaceAgent(name="main", connected=True)],
        claim=claim,
        latest_build=WorkspaceBuild(
            number=2,
            transition=transition,
            job_id="job",
            job_status=status,
            job_error=error,
            reason="claim" if claim else "initiator",
        ),
    )


def a_claim(**milliseconds: float) -> Claim:
    return Claim(id="c", **{f"{k}_at": a_stamp(v) for k, v in milliseconds.items()})  # type: ignore[arg-type]


def watched(*workspaces: Workspace, stays: bool = True) -> Stream:
    return Stream(messages=[WatchWorkspaceResponse(workspace=w) for w in workspaces], stays=stays)


async def test_a_warm_create_waits_for_the_agent_and_shows_every_step(
    cli: Cli, control: FakeControl
):
    claimed = a_workspace(RUNNING, claim=a_claim(requested=0, claimed=2))
    built = a_workspace(claim=a_claim(requested=0, claimed=2, built=150))
    applied = a_workspace(
        claim=a_claim(requested=0, claimed=2, built=150, delivered=151.5, applied=230)
    )
    control.on("CreateWorkspace", CreateWorkspaceResponse(workspace=claimed, warm=True))
    control.on("WatchWorkspace", watched(claimed, built, applied))

    ran = await cli("create", "demo", "--name", "web", "-p", "size=small")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "warm: web comes out of the pool of Standard",
        "waiting ...",
        "  start build running",
        "  start build succeeded, agent not told yet (main unspecified)",
        "  start build succeeded, agent runs under its new owner",
        "step       ms since requested  ms since last  meaning",
        "requested                 0.0              -  the request arrived",
        "claimed                   2.0           +2.0  the workspace changed hands",
        "built                   150.0         +148.0  its claim build succeeded",
        "delivered               151.5           +1.5  every agent was sent the claim",
        "applied                 230.0          +78.5  every agent runs under its new owner",
        "ann/web is ready",
    ]
    [request] = control.asked(CreateWorkspaceRequest)
    assert isinstance(request, CreateWorkspaceRequest)
    assert request.request_id != ""
    request.ClearField("request_id")
    assert request == CreateWorkspaceRequest(
        template="demo", name="web", parameters=[ParameterValue(name="size", value="small")]
    )


async def test_a_cold_create_says_why_the_pool_was_missed(cli: Cli, control: FakeControl):
    control.on(
        "CreateWorkspace",
        CreateWorkspaceResponse(
            workspace=a_workspace(RUNNING),
            pool_miss=PoolMiss.POOL_MISS_EMPTY,
            pool_miss_message="the pool has no member",
        ),
    )
    control.on("WatchWorkspace", watched(a_workspace()))

    ran = await cli("create", "demo", "-o", "json")

    document = ran.document
    assert ran.code == 0
    assert document.pop("workspace")["latest_build"]["job_status"] == "JOB_STATUS_SUCCEEDED"
    assert document == {
        "warm": False,
        "pool_miss": "empty",
        "pool_miss_message": "the pool has no member",
    }


async def test_a_create_that_does_not_wait_asks_for_nothing_more(cli: Cli, control: FakeControl):
    claimed = a_workspace(RUNNING, claim=a_claim(requested=0, claimed=2))
    control.on("CreateWorkspace", CreateWorkspaceResponse(workspace=claimed, warm=True))

    ran = await cli("create", "demo", "--no-wait", "--output", "json")

    assert ran.code == 0
    assert [step["milliseconds"] for step in ran.document["timeline"]] == [0, 2, None, None, None]
    assert [type(request) for request in control.requests] == [
        ListTemplateVersionsRequest,
        CreateWorkspaceRequest,
    ]


async def test_what_is_not_given_takes_the_templates_default(cli: Cli, control: FakeControl):
    versions = [
        TemplateVersion(id="two", name="v2", active=True),
        TemplateVersion(id="one", name="v1"),
    ]
    asked = TemplateVersion(
        id="two",
        parameters=[
            Parameter(name="size", has_default=True, default_value="small"),
            Parameter(name="zone", has_default=True, default_value="here"),
            Parameter(name="key"),
        ],
    )
    control.on("ListTemplateVersions", ListTemplateVersionsResponse(versions=versions))
    control.on("GetTemplateVersion", GetTemplateVersionResponse(version=asked))
    control.on("CreateWorkspace", CreateWorkspaceResponse(workspace=a_workspace(), warm=True))

    await cli("create", "demo", "--no-wait", "-p", "size=large")

    _, get, request = control.requests
    assert get == GetTemplateVersionRequest(version_id="two")
    assert isinstance(request, CreateWorkspaceRequest)
    assert {each.name: each.value for each in request.parameters} == {
        "size": "large",
        "zone": "here",
    }


async def test_a_build_that_fails_is_a_failure(cli: Cli, control: FakeControl):
    control.on("CreateWorkspace", CreateWorkspaceResponse(workspace=a_workspace(RUNNING)))
    control.on("WatchWorkspace", watched(a_workspace(FAILED, error="no capacity")))

    ran = await cli("create", "demo", "--output", "json")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[0] == "error: the start build of web failed: no capacity"


async def test_a_wait_has_an_end(cli: Cli, control: FakeControl):
    control.on("CreateWorkspace", CreateWorkspaceResponse(workspace=a_workspace(RUNNING)))
    control.on("WatchWorkspace", watched(a_workspace(RUNNING)))

    ran = await cli("create", "demo", "--timeout", "1")

    assert (ran.code, ran.err.splitlines()[0]) == (
        1,
        "error: workspace web is not done after 1 s: start build running",
    )


async def test_a_wait_outlives_a_restart_of_the_control_plane(cli: Cli, control: FakeControl):
    away = Refusal(code=grpc.StatusCode.UNAVAILABLE, message="draining")
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=a_workspace()))
    control.on("BuildWorkspace", BuildWorkspaceResponse(workspace=a_workspace(RUNNING)))
    control.on(
        "WatchWorkspace",
        Stream(messages=[WatchWorkspaceResponse(workspace=a_workspace(RUNNING))], then=away),
        watched(stays=False),
        watched(a_workspace(transition=Transition.TRANSITION_STOP)),
    )

    ran = await cli("stop", "web")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == "ann/web is stopped"
    assert control.asked(BuildWorkspaceRequest) == [
        BuildWorkspaceRequest(workspace_id=ID, transition=Transition.TRANSITION_STOP)
    ]


async def test_a_deleted_workspace_is_gone_and_that_is_well(cli: Cli, control: FakeControl):
    deleting = a_workspace(RUNNING, transition=Transition.TRANSITION_DELETE)
    gone = Refusal(code=grpc.StatusCode.NOT_FOUND, message="no such workspace")
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=a_workspace()))
    control.on("DeleteWorkspace", DeleteWorkspaceResponse(workspace=deleting))
    control.on("WatchWorkspace", gone)

    ran = await cli("delete", "ann/web", "--output", "json")

    assert (ran.code, ran.err, ran.document["waited"]) == (0, "", True)


async def test_a_list_reads_every_page(cli: Cli, control: FakeControl):
    control.on(
        "ListWorkspaces",
        ListWorkspacesResponse(workspaces=[a_workspace()], next_page_token="more"),
        ListWorkspacesResponse(workspaces=[a_workspace(FAILED)]),
    )

    ran = await cli("list", "--all", "--prebuilds", "--output", "json")

    assert len(ran.document["workspaces"]) == 2
    assert ran.document["truncated"] is False
    assert control.asked(ListWorkspacesRequest) == [
        ListWorkspacesRequest(owner="*", include_system=True, page_size=500),
        ListWorkspacesRequest(owner="*", include_system=True, page_size=500, page_token="more"),
    ]


async def test_prebuilds_are_listed_beside_ones_own(cli: Cli, control: FakeControl):
    mine, pooled = a_workspace(), a_workspace(FAILED)
    pooled.created_at.FromNanoseconds(mine.created_at.ToNanoseconds() + 1)
    control.on(
        "ListWorkspaces",
        ListWorkspacesResponse(workspaces=[mine], next_page_token="more"),
        ListWorkspacesResponse(workspaces=[pooled]),
    )

    ran = await cli("list", "--prebuilds", "--limit", "1", "-o", "json")

    assert ran.document == {"workspaces": [as_json(pooled)], "truncated": True}
    assert control.asked(ListWorkspacesRequest) == [
        ListWorkspacesRequest(include_system=True, page_size=1),
        ListWorkspacesRequest(owner="prebuilds", include_system=True, page_size=1),
    ]


async def test_a_list_for_people(cli: Cli, control: FakeControl):
    control.on("ListWorkspaces", ListWorkspacesResponse(workspaces=[a_workspace(claim=a_claim())]))

    ran = await cli("list")

    row = ran.out.splitlines()[1].split()
    assert row[:8] == [
        "web",
        "ann",
        "demo",
        "Standard",
        "start",
        "succeeded",
        "main",
        "unspecified",
    ]


async def test_show_tells_the_claim(cli: Cli, control: FakeControl):
    workspace = a_workspace(claim=a_claim(requested=0, claimed=2, built=9))
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=workspace))

    text, document = await cli("show", "web"), await cli("show", "web", "-o", "json")

    assert "claimed out of it" in text.out
    assert "built                     9.0           +7.0" in text.out
    assert [step["milliseconds"] for step in document.document["timeline"]] == [0, 2, 9, None, None]


def lines(*texts: str, first: int = 1) -> list[LogLine]:
    return [
        LogLine(sequence=number, text=text, level=LogLevel.LOG_LEVEL_INFO, stage="apply")
        for number, text in enumerate(texts, first)
    ]


async def test_following_a_log_prints_each_line_once_across_a_broken_stream(
    cli: Cli, control: FakeControl
):
    control.on(
        "WatchJobLogs",
        Stream(
            messages=[WatchJobLogsResponse(lines=lines("one", "two"), job_status=RUNNING)],
            then=Refusal(code=grpc.StatusCode.UNAVAILABLE, message="draining"),
        ),
        Stream(
            messages=[
                WatchJobLogsResponse(lines=lines("two", "three", first=2), job_status=SUCCEEDED)
            ]
        ),
    )

    ran = await cli("logs", "-f", "--job", "job", "--output", "json")

    assert (ran.code, ran.err) == (0, "")
    assert [(r["text"], r["level"], r["stage"]) for r in ran.records] == [
        ("one", "info", "apply"),
        ("two", "info", "apply"),
        ("three", "info", "apply"),
    ]
    assert control.asked(WatchJobLogsRequest) == [
        WatchJobLogsRequest(job_id="job", follow=True),
        WatchJobLogsRequest(job_id="job", follow=True, after_sequence=2),
    ]


async def test_following_a_job_that_fails_is_a_failure(cli: Cli, control: FakeControl):
    control.on("GetWorkspace", GetWorkspaceResponse(workspace=a_workspace()))
    control.on("WatchJobLogs", WatchJobLogsResponse(lines=lines("no"), job_status=FAILED))

    followed, read = await cli("logs", "web", "-f"), await cli("logs", "web")

    assert (followed.code, followed.err.splitlines()[0]) == (1, "error: the job failed")
    assert (read.code, read.out.split()[1:]) == (0, ["apply", "no"])


async def test_whoami(cli: Cli, control: FakeControl):
    control.on("WhoAmI", WhoAmIResponse(user_id="1", username="ann", roles=["owner"]))

    ran = await cli("whoami", "-o", "json")

    assert ran.document == {"user_id": "1", "username": "ann", "roles": ["owner"]}


async def test_version_answers_with_and_without_a_control_plane(
    cli: Cli, control: FakeControl, monkeypatch: pytest.MonkeyPatch
):
    control.on("GetSystem", GetSystemResponse(version="9.9"))
    with_one = await cli("version", "-o", "json")
    monkeypatch.delenv("WARMPOOL_ADDRESS")
    without = await cli("version", "-o", "json")

    assert (with_one.code, with_one.document["server"]) == (0, "9.9")
    assert (without.code, without.document["server"]) == (0, None)
