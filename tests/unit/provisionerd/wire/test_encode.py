"""What a worker says reaches the wire whole."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from provisionerd.core.jobs import (
    Completion,
    DryRunResult,
    JobFailure,
    JobRef,
    LogLine,
    Worker,
)
from provisionerd.core.provisioner import (
    Agent,
    AgentApp,
    AgentScript,
    BuildResult,
    ImportResult,
    Level,
    Option,
    Parameter,
    Prebuilds,
    Preset,
    Replacement,
    Resource,
    Schedule,
)
from provisionerd.wire.encode import (
    CHUNK_BYTES_MAX,
    encode_completion,
    encode_failure,
    encode_heartbeat,
    encode_register,
    encode_state,
    encode_want,
)
from warmpool.common.v1 import types_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb

REF = JobRef(job_id=uuid.UUID(int=1), attempt=2)
REF_PB = pb.JobRef(job_id=str(uuid.UUID(int=1)), attempt=2)
LINE = LogLine(
    sequence=3,
    written_at=datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC),
    level=Level.WARN,
    stage="apply",
    text="hot",
)
LINE_PB = types_pb2.LogLine(
    sequence=3,
    written_at=Timestamp(seconds=1795482123),
    level=types_pb2.LOG_LEVEL_WARN,
    stage="apply",
    text="hot",
)


def test_a_worker_introduces_itself_and_asks() -> None:
    worker = Worker(
        worker_id="w", name="n", version="1", provisioner_types=("terraform",), tags={"a": "b"}
    )
    assert encode_register(worker) == pb.AcquireJobsRequest(
        register=pb.RegisterWorker(
            worker_id="w", name="n", version="1", provisioner_types=["terraform"], tags={"a": "b"}
        )
    )
    assert encode_want(2) == pb.AcquireJobsRequest(want=pb.WantJobs(count=2))


def test_a_heartbeat_carries_lines() -> None:
    assert encode_heartbeat(REF, [LINE]) == pb.HeartbeatRequest(ref=REF_PB, lines=[LINE_PB])


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES_MAX, 2 * CHUNK_BYTES_MAX + 1])
def test_a_tfstate_is_sent_in_parts(size: int) -> None:
    tfstate = bytes(index % 251 for index in range(size))
    parts = list(encode_state(REF, tfstate))
    assert b"".join(part.chunk for part in parts) == tfstate
    assert max(len(part.chunk) for part in parts) <= CHUNK_BYTES_MAX
    assert [part.HasField("ref") for part in parts] == [True] + [False] * (len(parts) - 1)


def test_an_import_is_reported_whole() -> None:
    result = ImportResult(
        parameters=(
            Parameter(
                name="cpu",
                type="number",
                display_name="CPU",
                description="how many",
                default="",
                mutable=True,
                ephemeral=True,
                options=(Option(name="One", value="1", description="one"),),
                regex="^1$",
                error="no",
                minimum=0,
                maximum=None,
                monotonic="increasing",
            ),
            Parameter(name="asked", type="string"),
        ),
        presets=(
            Preset(
                name="p",
                is_default=True,
                parameters={"cpu": "1"},
                description="d",
                icon="/i",
                prebuilds=Prebuilds(
                    instances=2,
                    ttl_seconds=60,
                    timezone="UTC",
                    schedules=(Schedule(cron="* 8 * * *", instances=3),),
                ),
            ),
            Preset(name="without a pool"),
        ),
        agent_names=("main",),
    )
    assert encode_completion(REF, Completion(result=result), [LINE]) == pb.CompleteJobRequest(
        ref=REF_PB,
        lines=[LINE_PB],
        template_import=pb.TemplateImportResult(
            parameters=[
                pb.ImportedParameter(
                    name="cpu",
                    type="number",
                    display_name="CPU",
                    description="how many",
                    has_default=True,
                    mutable=True,
                    ephemeral=True,
                    options=[pb.ImportedOption(name="One", value="1", description="one")],
                    validation_regex="^1$",
                    validation_error="no",
                    validation_min=0,
                    validation_monotonic="increasing",
                ),
                pb.ImportedParameter(name="asked", type="string"),
            ],
            presets=[
                pb.ImportedPreset(
                    name="p",
                    is_default=True,
                    parameters=[types_pb2.ParameterValue(name="cpu", value="1")],
                    description="d",
                    icon="/i",
                    prebuilds=pb.ImportedPrebuilds(
                        instances=2,
                        ttl_seconds=60,
                        timezone="UTC",
                        schedules=[pb.ImportedSchedule(cron="* 8 * * *", instances=3)],
                    ),
                ),
                pb.ImportedPreset(name="without a pool"),
            ],
            agent_names=["main"],
        ),
    )


def test_a_dry_run_is_reported_also_when_it_would_make_nothing() -> None:
    request = encode_completion(REF, Completion(result=DryRunResult()), [])
    assert request.WhichOneof("result") == "template_dry_run"
    request = encode_completion(REF, Completion(result=DryRunResult(resources=("a.b",))), [])
    assert list(request.template_dry_run.resources) == ["a.b"]


def test_a_rehearsal_reports_what_would_be_replaced() -> None:
    result = DryRunResult(
        replacements=(Replacement(address="a.b", paths=("c",)),),
        owner_dependent=(Replacement(address="a.d", paths=("e",)),),
    )
    request = encode_completion(REF, Completion(result=result), [])
    assert request.template_dry_run == pb.TemplateDryRunResult(
        replacements=[pb.ResourceReplacement(address="a.b", paths=["c"])],
        owner_dependent=[pb.ResourceReplacement(address="a.d", paths=["e"])],
    )


def test_a_build_is_reported_whole() -> None:
    result = BuildResult(
        agents=(
            Agent(
                id="a",
                name="main",
                token="secret",
                os="linux",
                arch="arm64",
                directory="/w",
                env={"A": "B"},
                scripts=(
                    AgentScript(
                        display_name="s",
                        script="true",
                        run_on_start=True,
                        run_on_stop=True,
                        timeout_seconds=3,
                        start_blocks_login=True,
                        cron="0 0 1 * * *",
                        log_path="/l",
                    ),
                ),
                apps=(AgentApp(slug="x", display_name="X", url="http://x", command="top"),),
                connection_timeout_seconds=9,
            ),
        ),
        replacements=(Replacement(address="a.b", paths=("name",)),),
        resources=(Resource(address="a.b", type="a", agent_names=("main",)),),
    )
    assert encode_completion(REF, Completion(result=result), []) == pb.CompleteJobRequest(
        ref=REF_PB,
        workspace_build=pb.WorkspaceBuildResult(
            agents=[
                pb.BuiltAgent(
                    id="a",
                    name="main",
                    token="secret",
                    os="linux",
                    arch="arm64",
                    directory="/w",
                    env={"A": "B"},
                    scripts=[
                        pb.AgentScript(
                            display_name="s",
                            script="true",
                            run_on_start=True,
                            run_on_stop=True,
                            timeout_seconds=3,
                            start_blocks_login=True,
                            cron="0 0 1 * * *",
                            log_path="/l",
                        )
                    ],
                    connection_timeout_seconds=9,
                    apps=[pb.AgentApp(slug="x", display_name="X", url="http://x", command="top")],
                )
            ],
            replacements=[pb.ResourceReplacement(address="a.b", paths=["name"])],
            resources=[pb.BuiltResource(address="a.b", type="a", agent_names=["main"])],
        ),
    )


def test_a_failure_is_reported_with_its_reason() -> None:
    failure = JobFailure(error="no", reason="PROVISIONER", retryable=True)
    assert encode_failure(REF, failure, [LINE]) == pb.FailJobRequest(
        ref=REF_PB, lines=[LINE_PB], error="no", reason="PROVISIONER", retryable=True
    )
