"""template, pool, schedule."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from testkit.fake_control import FakeControl, Refusal, Stream
from warmpool.common.v1.types_pb2 import JobStatus, LogLevel, LogLine
from warmpool.control.v1.pools_pb2 import (
    ExplainScheduleRequest,
    ExplainScheduleResponse,
    InvalidatePoolRequest,
    InvalidatePoolResponse,
    ListPoolsRequest,
    ListPoolsResponse,
    Pool,
    PoolHealth,
    ResumePoolRequest,
    ResumePoolResponse,
    ScheduleWindow,
    SetPoolPausedRequest,
    SetPoolPausedResponse,
    WatchPoolsResponse,
)
from warmpool.control.v1.system_pb2 import GetSystemResponse, ProvisionerWorker
from warmpool.control.v1.templates_pb2 import (
    GetTemplateVersionResponse,
    ListTemplatesResponse,
    ListTemplateVersionsResponse,
    Preset,
    PromoteTemplateVersionRequest,
    PromoteTemplateVersionResponse,
    PushTemplateHeader,
    PushTemplateVersionRequest,
    PushTemplateVersionResponse,
    Schedule,
    Template,
    TemplateVersion,
)
from warmpool.control.v1.workspaces_pb2 import WatchJobLogsResponse
from warmpool_cli.archive import pack_template

pytestmark = pytest.mark.integration
Cli = Callable[..., Awaitable[Any]]
HEALTHY = PoolHealth.POOL_HEALTH_HEALTHY


def a_pool(**changes: Any) -> Pool:
    values: dict[str, Any] = {
        "template_name": "demo",
        "version_name": "v1",
        "preset_name": "Standard",
        "active": True,
        "health": HEALTHY,
        "desired": 2,
        **changes,
    }
    return Pool(**values)


@pytest.fixture
def template(elsewhere: Path) -> Path:
    """A template in the working directory."""
    directory = elsewhere / "My Demo"
    directory.mkdir()
    (directory / "warmpool.toml").write_text("version = 1\n")
    return directory


def script_import(control: FakeControl, status: JobStatus.ValueType, error: str = "") -> None:
    version = TemplateVersion(id="version", name="v1", job_id="job")
    control.on("PushTemplateVersion", PushTemplateVersionResponse(version=version))
    control.on(
        "WatchJobLogs",
        WatchJobLogsResponse(
            lines=[
                LogLine(sequence=1, stage="read", text="found 1 preset", level=2),  # type: ignore[arg-type]
                LogLine(sequence=2, text="no default", level=LogLevel.LOG_LEVEL_WARN),
            ],
            job_status=status,
        ),
    )
    imported = TemplateVersion(
        id="version",
        name="v1",
        active=True,
        import_status=status,
        import_error=error,
        presets=[Preset(name="Standard", instances=2, is_default=True)],
    )
    control.on("GetTemplateVersion", GetTemplateVersionResponse(version=imported))
    control.on("ListPools", ListPoolsResponse(pools=[a_pool(starting=2)]))


async def test_a_push_uploads_follows_and_sums_up(cli: Cli, control: FakeControl, template: Path):
    script_import(control, JobStatus.JOB_STATUS_SUCCEEDED)

    ran = await cli("template", "push", "My Demo", "-m", "first", "--tag", "zone=a")

    assert (ran.code, ran.err) == (0, "")
    said = ran.out.splitlines()
    assert said[0].startswith("pushing my-demo (process): 1 file, ")
    assert said[1:5] == [
        "importing v1 ...",
        "  read: found 1 preset",
        "  no default",
        "my-demo v1 is imported and is active",
    ]
    assert said[6].split() == ["Standard", "yes", "2", "-", "-"]
    assert said[8].split() == ["demo/Standard", "v1", "0/2", "2", "0", "0", "0", "filling"]
    header, *chunks = control.asked(PushTemplateVersionRequest)
    assert header == PushTemplateVersionRequest(
        header=PushTemplateHeader(
            template="my-demo",
            provisioner_type="process",
            promote=True,
            message="first",
            provisioner_tags={"zone": "a"},
        )
    )
    sent = b"".join(c.chunk for c in chunks if isinstance(c, PushTemplateVersionRequest))
    assert sent == pack_template(template).content


async def test_a_refusal_that_was_lost_is_asked_for_again(
    cli: Cli, control: FakeControl, template: Path
):
    lost = Refusal(code=grpc.StatusCode.INTERNAL, message="Internal error from Core")
    taken = Refusal(
        code=grpc.StatusCode.ALREADY_EXISTS, message='"v1" is taken', field="header.version"
    )
    control.on("PushTemplateVersion", lost, lost, taken)

    ran = await cli("template", "push", str(template))

    assert (ran.code, ran.err.splitlines()[0]) == (6, 'error: version: "v1" is taken')


async def test_a_refusal_that_is_always_lost_ends_the_push(
    cli: Cli, control: FakeControl, template: Path
):
    control.on(
        "PushTemplateVersion",
        Refusal(code=grpc.StatusCode.INTERNAL, message="Internal error from Core"),
    )

    ran = await cli("template", "push", str(template))

    headers = [
        each
        for each in control.asked(PushTemplateVersionRequest)
        if isinstance(each, PushTemplateVersionRequest) and each.HasField("header")
    ]
    assert (ran.code, len(headers)) == (1, 5)


@pytest.mark.parametrize(
    ("types", "tags", "says"),
    [
        (["process"], {"zone": "a", "gpu": "yes"}, False),
        (["process"], {"zone": "b"}, True),
        (["terraform"], {"zone": "a"}, True),
    ],
)
async def test_a_push_says_if_nobody_can_import_it(
    cli: Cli,
    control: FakeControl,
    template: Path,
    types: list[str],
    tags: dict[str, str],
    says: bool,
):
    script_import(control, JobStatus.JOB_STATUS_SUCCEEDED)
    worker = ProvisionerWorker(name="w", provisioner_types=types, tags=tags)
    control.on("GetSystem", GetSystemResponse(provisioners=[worker]))

    ran = await cli("template", "push", str(template), "--tag", "zone=a", "--no-wait")

    wanted = ["no connected provisioner takes process jobs with zone=a: it waits for one"]
    assert ran.out.splitlines()[1:-1] == (wanted if says else [])


async def test_a_push_as_json_is_one_document(cli: Cli, control: FakeControl, template: Path):
    script_import(control, JobStatus.JOB_STATUS_SUCCEEDED)

    ran = await cli("template", "push", str(template), "--name", "x", "-o", "json")

    assert ran.document["version"]["name"] == "v1"
    assert [pool["starting"] for pool in ran.document["pools"]] == [2]


async def test_a_failed_import_is_a_failure_and_says_why(
    cli: Cli, control: FakeControl, template: Path
):
    script_import(control, JobStatus.JOB_STATUS_FAILED, "a preset names no parameter")

    ran = await cli("template", "push", str(template))

    assert (ran.code, ran.err.splitlines()[0]) == (
        1,
        "error: the import of version v1 failed: a preset names no parameter",
    )


async def test_templates_and_versions_are_listed(cli: Cli, control: FakeControl):
    control.on(
        "ListTemplates",
        ListTemplatesResponse(templates=[Template(name="demo", provisioner_type="process")]),
    )
    control.on(
        "ListTemplateVersions",
        ListTemplateVersionsResponse(
            versions=[TemplateVersion(name="v2", import_status=JobStatus.JOB_STATUS_PENDING)]
        ),
    )

    templates, versions = await cli("template", "list"), await cli("template", "versions", "demo")

    assert templates.out.splitlines()[1].split()[:3] == ["demo", "process", "-"]
    assert versions.out.splitlines()[1].split()[:2] == ["v2", "pending"]


async def test_a_promotion(cli: Cli, control: FakeControl):
    promoted = Template(name="demo", active_version_name="v2")
    control.on("PromoteTemplateVersion", PromoteTemplateVersionResponse(template=promoted))

    ran = await cli("template", "promote", "demo", "v2")

    assert (ran.code, ran.out) == (0, "demo: v2 is active\n")
    assert control.requests == [PromoteTemplateVersionRequest(template="demo", version="v2")]


async def test_pools_are_listed_and_a_global_pause_is_not_hidden(cli: Cli, control: FakeControl):
    control.on(
        "ListPools",
        ListPoolsResponse(pools=[a_pool(eligible=2, claimed_total=7)], reconciliation_paused=True),
    )

    ran = await cli("pool", "list", "--all", "-t", "demo")

    assert ran.out.splitlines()[1].split() == [
        *("demo/Standard", "v1", "2/2", "0", "0", "0", "7", "ready"),
    ]
    assert "Reconciliation is paused" in ran.out
    assert control.requests == [ListPoolsRequest(template="demo", include_inactive=True)]


@pytest.mark.parametrize(
    ("arguments", "request_", "said"),
    [
        (("pause",), SetPoolPausedRequest(paused=True), "reconciliation paused\n"),
        (
            ("pause", "demo", "Standard"),
            SetPoolPausedRequest(template="demo", preset="Standard", paused=True),
            "1 pool paused\n",
        ),
        (("resume",), SetPoolPausedRequest(), "reconciliation resumed\n"),
    ],
)
async def test_pausing(
    cli: Cli,
    control: FakeControl,
    arguments: tuple[str, ...],
    request_: SetPoolPausedRequest,
    said: str,
):
    control.on("SetPoolPaused", SetPoolPausedResponse(changed=1))

    ran = await cli("pool", *arguments)

    assert (ran.code, ran.out) == (0, said)
    assert control.requests == [request_]


async def test_resuming_a_template_lifts_the_limit_of_its_pools_alone(
    cli: Cli, control: FakeControl
):
    limited = a_pool(preset_name="Large", health=PoolHealth.POOL_HEALTH_HARD_LIMITED)
    control.on("SetPoolPaused", SetPoolPausedResponse())
    control.on("ListPools", ListPoolsResponse(pools=[a_pool(), limited]))
    control.on("ResumePool", ResumePoolResponse(pool=limited))

    ran = await cli("pool", "resume", "demo", "-o", "json")

    assert ran.document == {"resumed": 0, "limits_lifted": ["Large"]}
    assert control.asked(ResumePoolRequest) == [ResumePoolRequest(template="demo", preset="Large")]


async def test_resuming_says_what_it_did_and_not_what_was_nothing_to_do(
    cli: Cli, control: FakeControl
):
    limited = a_pool(preset_name="Large", health=PoolHealth.POOL_HEALTH_HARD_LIMITED)
    control.on("SetPoolPaused", SetPoolPausedResponse())
    control.on("ListPools", ListPoolsResponse(pools=[limited]), ListPoolsResponse())
    control.on("ResumePool", ResumePoolResponse(pool=limited))

    ran = await cli("pool", "resume", "demo")
    again = await cli("pool", "resume", "demo")

    assert ran.out == "hard limit of Large lifted: one probe build decides\n"
    assert again.out == "0 pools resumed\n"


async def test_invalidating(cli: Cli, control: FakeControl):
    control.on("InvalidatePool", InvalidatePoolResponse(invalidated=2))

    ran = await cli("pool", "invalidate", "demo")

    assert (ran.code, ran.out) == (0, "2 prebuilds will be replaced\n")
    assert control.requests == [InvalidatePoolRequest(template="demo")]


async def test_watching_prints_every_change_until_ctrl_c(control: FakeControl):
    changes = [
        WatchPoolsResponse(pools=[a_pool(starting=2)]),
        WatchPoolsResponse(pools=[a_pool(eligible=2)]),
    ]
    control.on("WatchPools", Stream(messages=changes, stays=True))
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "warmpool_cli", "pool", "list", "--watch"),
        env={**os.environ, "WARMPOOL_ADDRESS": control.address, "WARMPOOL_TOKEN": control.token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert watching.stdout is not None
    said = [(await watching.stdout.readline()).decode() for _ in changes]
    watching.send_signal(signal.SIGINT)
    _, errors = await watching.communicate()

    assert (watching.returncode, errors.decode().splitlines()[0]) == (
        130,
        "error: interrupted by SIGINT",
    )
    assert [line.strip().split(" ", 1)[1] for line in said] == [
        "demo/Standard: desired 2, ready 0, unready 0, starting 2, "
        "deleting 0, failed 0, claimed 0, filling",
        "demo/Standard: desired 2, ready 2, unready 0, starting 0, "
        "deleting 0, failed 0, claimed 0, ready",
    ]


async def test_a_schedule_is_explained_in_its_own_zone(cli: Cli, control: FakeControl):
    window = ScheduleWindow(
        starts_at=Timestamp(seconds=1_774_652_400),  # 2026-03-27 23:00 UTC
        ends_at=Timestamp(seconds=1_774_735_200),  # 23 hours later: the clocks change
        instances=3,
        cron="* * * * 6",
        note="the clocks change",
    )
    control.on("ExplainSchedule", ExplainScheduleResponse(windows=[window], desired_now=1))

    ran = await cli(
        "schedule", "explain", "* * * * 6=3", "--tz", "Europe/Berlin", "--instances", "1"
    )

    assert ran.code == 0
    assert "desired now: 1" in ran.out
    assert "Sat 2026-03-28 00:00:00 CET  Sat 2026-03-28 23:00:00 CET  23h" in ran.out
    assert control.requests == [
        ExplainScheduleRequest(
            schedules=[Schedule(cron="* * * * 6", instances=3)],
            timezone="Europe/Berlin",
            instances=1,
            windows=5,
        )
    ]
