"""template check: what a claim would replace, before anybody claims."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from testkit.fake_control import FakeControl, Stream
from warmpool.common.v1.types_pb2 import JobStatus, ParameterValue
from warmpool.control.v1.templates_pb2 import (
    CheckTemplateVersionRequest,
    CheckTemplateVersionResponse,
    GetTemplateCheckResponse,
    PlannedChange,
    TemplateCheck,
    TemplateVersion,
)
from warmpool.control.v1.workspaces_pb2 import WatchJobLogsRequest, WatchJobLogsResponse

pytestmark = pytest.mark.integration
Cli = Callable[..., Awaitable[Any]]
SUCCEEDED = JobStatus.JOB_STATUS_SUCCEEDED
UPON = {"job_id": "j1", "preset": "small", "prebuild": "pb-1"}
ANEW = {"job_id": "j1", "preset": "small"}


def found(control: FakeControl, queued: dict[str, Any], **findings: Any) -> None:
    """One check is queued and ends with these findings."""
    findings = {"job_status": SUCCEEDED} | findings
    answer = CheckTemplateVersionResponse(
        version=TemplateVersion(id="v", name="v3"), checks=[TemplateCheck(**queued)]
    )
    ended = WatchJobLogsResponse(job_status=findings["job_status"])
    control.on("CheckTemplateVersion", answer)
    control.on("WatchJobLogs", Stream(messages=[ended]))
    control.on(
        "GetTemplateCheck", GetTemplateCheckResponse(check=TemplateCheck(**queued, **findings))
    )


async def test_what_a_claim_would_replace_is_said_with_what_to_do(
    cli: Cli, control: FakeControl
) -> None:
    replaced = [PlannedChange(address="docker_container.main", paths=["env", "name"])]
    found(control, UPON, replacements=replaced)
    ran = await cli("template", "check", "dev", "--version", "v3", "--preset", "small")
    assert control.asked(CheckTemplateVersionRequest) == [
        CheckTemplateVersionRequest(template="dev", version="v3", preset="small")
    ]
    assert control.asked(WatchJobLogsRequest) == [WatchJobLogsRequest(job_id="j1", follow=True)]
    assert ran.out == (
        "checking dev v3; nothing is changed by it\n"
        "preset small: planning a claim of prebuild pb-1 ...\n"
        "  a claim would replace docker_container.main, because of: env, name\n"
    )
    assert ran.code == 1
    assert ran.err == (
        "error: a claim of dev would replace docker_container.main\n"
        "  fix: keep the owner out of these attributes, or list them in the resource's"
        ' ignore_changes, or set replacements = "protect" under [claims] in the template\'s'
        " warmpool.toml\n"
    )


async def test_a_safe_template_is_praised(cli: Cli, control: FakeControl) -> None:
    found(control, UPON)
    ran = await cli("template", "check", "dev")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("  a claim would replace nothing\n")


async def test_without_a_prebuild_it_says_what_cannot_be_told(
    cli: Cli, control: FakeControl
) -> None:
    dependent = [
        PlannedChange(address="docker_volume.home"),
        PlannedChange(address="a.b", paths="c"),
    ]
    found(control, ANEW, resources=[f"a.b[{n}]" for n in range(25)], owner_dependent=dependent)
    ran = await cli("template", "check", "dev", "-p", "cpu=4")
    assert control.asked(CheckTemplateVersionRequest) == [
        CheckTemplateVersionRequest(
            template="dev", parameters=[ParameterValue(name="cpu", value="4")]
        )
    ]
    assert ran.code == 0
    assert ran.out.splitlines()[1:4] == [
        "preset small: planning a new workspace ...",
        "  it would make 25 resources:",
        "    a.b[0]",
    ]
    assert ran.out.splitlines()[-4:] == [
        "    and 5 more",
        "  depends on its owner: docker_volume.home: it exists for one owner alone",
        "  depends on its owner: a.b: c",
        "  a claim will change these; whether it replaces them can be told once a prebuild is"
        " there",
    ]


async def test_a_check_that_could_not_be_made_is_not_a_good_one(
    cli: Cli, control: FakeControl
) -> None:
    found(control, ANEW, job_status=JobStatus.JOB_STATUS_FAILED, error="main.tf:3: no")
    ran = await cli("template", "check", "dev")
    assert ran.code == 1
    assert ran.err == (
        "error: 1 check of dev could not be made: main.tf:3: no\n"
        "  fix: `warmpool logs --job j1` says more\n"
    )


async def test_a_program_reads_the_same(cli: Cli, control: FakeControl) -> None:
    replaced = [PlannedChange(address="a.b", paths=["c"])]
    found(control, UPON, replacements=replaced)
    ran = await cli("template", "check", "dev", "--output", "json")
    assert ran.code == 1
    (check,) = ran.document["checks"]
    assert (check["prebuild"], check["replacements"]) == (
        "pb-1",
        [{"address": "a.b", "paths": ["c"]}],
    )
