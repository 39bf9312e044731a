"""The demonstration's story against a scripted control plane, its example, and its Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from svckit.system import SystemClock
from testkit.fake_control import FakeControl, Stream
from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.pools_pb2 import Pool, PoolHealth, WatchPoolsResponse
from warmpool.control.v1.templates_pb2 import (
    GetTemplateVersionResponse,
    Preset,
    PushTemplateVersionResponse,
    TemplateVersion,
)
from warmpool.control.v1.workspaces_pb2 import (
    Claim,
    CreateWorkspaceRequest,
    CreateWorkspaceResponse,
    PoolMiss,
    WatchJobLogsResponse,
    WatchWorkspaceRequest,
    WatchWorkspaceResponse,
    Workspace,
    WorkspaceAgent,
    WorkspaceBuild,
)
from warmpool_cli.client import Client, open_client
from warmpool_cli.connection import Connection
from warmpool_cli.demo.example import Example, ProvisionerChoice, choose_example
from warmpool_cli.demo.gateway import GatewayCrash
from warmpool_cli.demo.story import Story, tell_story
from warmpool_cli.demo.telling import Teller
from warmpool_cli.errors import OperationFailed, UsageInvalid
from warmpool_cli.output import Output, OutputFormat

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
SUCCEEDED = JobStatus.JOB_STATUS_SUCCEEDED
IDS = {
    "first": "0d9b1d4e-6f0e-4c1c-8a41-3d3a86c1d1a5",
    "second": "1d9b1d4e-6f0e-4c1c-8a41-3d3a86c1d1a5",
}


class RecordingGateway:
    """A gateway that dies and comes back, and remembers what had been asked by then."""

    def __init__(self, control: FakeControl) -> None:
        self._control = control
        self.claims_before_freeze: list[str] = []
        self.claims_before_kill: list[str] = []

    def freeze(self) -> None:
        self.claims_before_freeze = self._claims()

    def kill(self) -> int:
        self.claims_before_kill = self._claims()
        return 7

    def _claims(self) -> list[str]:
        return [
            request.name
            for request in self._control.asked(CreateWorkspaceRequest)
            if isinstance(request, CreateWorkspaceRequest)
        ]

    async def wait_back(self) -> GatewayCrash:
        return GatewayCrash(old_pid=7, new_pid=8, away_seconds=0.25)


def a_workspace(workspace_id: str, *, applied: bool) -> Workspace:
    claim = Claim(id="c", requested_at=Timestamp(seconds=1), claimed_at=Timestamp(seconds=1))
    if applied:
        for stamp in (claim.built_at, claim.delivered_at, claim.applied_at):
            stamp.CopyFrom(Timestamp(seconds=1, nanos=150_000_000))
    return Workspace(
        id=workspace_id,
        name="w",
        owner_name="admin",
        claim=claim,
        agents=[WorkspaceAgent(name="main")],
        latest_build=WorkspaceBuild(number=2, job_status=SUCCEEDED),
    )


def a_pool(
    ready: int, claimed: int = 0, health: PoolHealth.ValueType = PoolHealth.POOL_HEALTH_HEALTHY
) -> Stream:
    pool = Pool(
        preset_name="Standard",
        active=True,
        desired=2,
        eligible=ready,
        claimed_total=claimed,
        health=health,
        last_error="e",
    )
    return Stream(messages=[WatchPoolsResponse(pools=[pool])], stays=True)


@pytest.fixture
async def client(control: FakeControl) -> AsyncGenerator[Client]:
    """The scripted control plane's client."""
    connection = Connection(address=control.address, token=control.token, source="test")
    async with open_client(connection) as client:
        yield client


@pytest.fixture
def example(tmp_path: Path) -> Example:
    """A template to push."""
    directory = tmp_path / "example"
    directory.mkdir()
    (directory / "warmpool.toml").write_text("")
    return Example(provisioner_type="process", directory=directory, terraform=None, reason="test")


def script_a_good_run(control: FakeControl) -> None:
    version = TemplateVersion(
        id="v", name="v1", job_id="j", import_status=SUCCEEDED, presets=[Preset(name="Standard")]
    )
    control.on("PushTemplateVersion", PushTemplateVersionResponse(version=version))
    control.on("WatchJobLogs", WatchJobLogsResponse(job_status=SUCCEEDED))
    control.on("GetTemplateVersion", GetTemplateVersionResponse(version=version))
    control.on("WatchPools", a_pool(2), a_pool(2, claimed=2))

    def create(request: CreateWorkspaceRequest) -> CreateWorkspaceResponse:
        workspace = a_workspace(IDS[request.name], applied=False)
        return CreateWorkspaceResponse(workspace=workspace, warm=True)

    def watch(request: WatchWorkspaceRequest) -> WatchWorkspaceResponse:
        return WatchWorkspaceResponse(workspace=a_workspace(request.workspace_id, applied=True))

    control.on("CreateWorkspace", create)
    control.on("WatchWorkspace", watch)


def show_owner(workspaces: Path, owner: str) -> None:
    for workspace_id in IDS.values():
        directory = workspaces / workspace_id / "project"
        directory.mkdir(parents=True)
        (directory / "owner.txt").write_text(f"workspace of {owner}\n")


def a_story(
    client: Client, gateway: RecordingGateway, workspaces: Path
) -> tuple[Story, io.StringIO]:
    stream = io.StringIO()
    teller = Teller(Output(OutputFormat.JSON, stream), CLOCK)
    story = Story(client=client, gateway=gateway, teller=teller, clock=CLOCK, workspaces=workspaces)
    return story, stream


async def test_the_story_from_the_push_to_the_refill(
    client: Client, control: FakeControl, example: Example, tmp_path: Path
):
    script_a_good_run(control)
    show_owner(tmp_path / "workspaces", "admin")
    gateway = RecordingGateway(control)
    story, stream = a_story(client, gateway, tmp_path / "workspaces")

    await tell_story(story, example)

    events: list[Any] = [json.loads(line) for line in stream.getvalue().splitlines()]
    pools = [event for event in events if event["event"] == "pool"]
    told = [event for event in events if event["event"] != "pool"]
    assert [event["event"] for event in told] == [
        *("template_imported", "claimed", "applied", "claimed"),
        *("gateway_killed", "gateway_back", "applied", "claim_survived", "summary"),
    ]
    assert [(event["ready"], event["claimed"]) for event in pools] == [(2, 0), (2, 2)]
    assert told[2]["timeline"][-1]["milliseconds"] == 150.0
    assert events[-1]["claim_across_crash_applied_milliseconds"] == 150.0
    assert gateway.claims_before_freeze == ["first"]
    assert gateway.claims_before_kill == ["first", "second"]


async def test_a_cold_claim_breaks_the_story(
    client: Client, control: FakeControl, example: Example, tmp_path: Path
):
    script_a_good_run(control)
    control.on(
        "CreateWorkspace",
        CreateWorkspaceResponse(
            workspace=a_workspace(IDS["first"], applied=False),
            pool_miss=PoolMiss.POOL_MISS_UNHEALTHY,
            pool_miss_message="agents are not connected",
        ),
    )
    story, _ = a_story(client, RecordingGateway(control), tmp_path)

    with pytest.raises(OperationFailed) as caught:
        await tell_story(story, example)

    assert caught.value.cause == "first was built cold (unhealthy): agents are not connected"


async def test_a_pool_that_gives_up_breaks_the_story_at_once(
    client: Client, control: FakeControl, example: Example, tmp_path: Path
):
    script_a_good_run(control)
    control.on("WatchPools", a_pool(0, health=PoolHealth.POOL_HEALTH_HARD_LIMITED))
    story, _ = a_story(client, RecordingGateway(control), tmp_path)

    with pytest.raises(OperationFailed) as caught:
        await tell_story(story, example)

    assert caught.value.cause == "the pool of Standard is hard-limited: e"


async def test_ctrl_c_at_the_start_leaves_neither_process_nor_file(elsewhere: Path):
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "warmpool_cli", "demo", "--provisioner", "process", "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert demo.stdout is not None
    said: list[Any] = [json.loads(await demo.stdout.readline()) for _ in range(2)]
    during = working_below(elsewhere)
    demo.send_signal(signal.SIGINT)
    _, errors = await demo.communicate()

    assert [event.get("step") for event in said] == [None, "postgres"]
    assert during != []
    assert (demo.returncode, errors.decode().splitlines()[0]) == (
        130,
        "error: interrupted by SIGINT",
    )
    assert working_below(elsewhere) == []
    assert os.listdir(elsewhere) == []


async def test_ctrl_c_before_anything_has_begun(elsewhere: Path):
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EARLY_INTERRUPT, "demo"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await demo.communicate()

    assert (demo.returncode, errors.decode().splitlines()) == (
        130,
        [
            "error: interrupted by SIGINT",
            "  fix: none is needed; run the command again if that was not meant",
        ],
    )
    assert os.listdir(elsewhere) == []


EARLY_INTERRUPT = """
import signal, sys
from warmpool_cli.entry import main
class Finder:
    def find_spec(self, name, *rest):
        if name == "warmpool_cli.app":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
main()
"""


def working_below(directory: Path) -> list[int]:
    """The processes whose working directory is below."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            cwd = (entry / "cwd").readlink()
            if cwd != directory and cwd.is_relative_to(directory):
                found.append(int(entry.name))
    return found


def a_program(directory: Path, name: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_terraform_is_told_with_if_there_is_one(tmp_path: Path):
    tofu = a_program(tmp_path / "bin", "tofu")

    chosen = choose_example(ProvisionerChoice.AUTO, "", {"PATH": str(tmp_path / "bin")}, tmp_path)

    assert (chosen.provisioner_type, chosen.terraform) == ("terraform", tofu)
    assert (chosen.directory / "main.tf").is_file()


@pytest.mark.parametrize("choice", [ProvisionerChoice.AUTO, ProvisionerChoice.PROCESS])
def test_without_one_it_is_processes_and_says_so(tmp_path: Path, choice: ProvisionerChoice):
    environ = {"PATH": str(tmp_path)} if choice is ProvisionerChoice.AUTO else dict(os.environ)

    chosen = choose_example(choice, "", environ, tmp_path)

    assert (chosen.provisioner_type, chosen.terraform) == ("process", None)
    assert (chosen.directory / "warmpool.toml").is_file()
    assert chosen.reason.startswith("the process provisioner")


def test_terraform_that_is_asked_for_and_missing_is_an_error(tmp_path: Path):
    with pytest.raises(UsageInvalid):
        choose_example(ProvisionerChoice.TERRAFORM, "", {"PATH": str(tmp_path)}, tmp_path)
    with pytest.raises(UsageInvalid):
        choose_example(ProvisionerChoice.AUTO, "/no/terraform", {}, tmp_path)
