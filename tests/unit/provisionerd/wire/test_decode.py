"""Jobs from the wire become plain values; what makes no sense is named."""

from __future__ import annotations

import math
import uuid

import pytest

from provisionerd.core.jobs import (
    AcquiredJob,
    BuildWork,
    DryRunWork,
    HeartbeatAnswer,
    ImportWork,
    JobOffered,
    JobRef,
    KeptAlive,
    ReconnectAsked,
    RehearsalWork,
    Undecodable,
)
from provisionerd.core.provisioner import Build, Owner, Stage, Transition
from provisionerd.wire.decode import (
    NotDecodable,
    decode_heartbeat_answer,
    decode_job,
    decode_offer,
)
from warmpool.common.v1 import types_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb

JOB_ID = uuid.UUID(int=1)
SHA256 = "0123456789abcdef" * 4


def a_job(**work: object) -> pb.AcquiredJob:
    job = pb.AcquiredJob(
        ref=pb.JobRef(job_id=str(JOB_ID), attempt=2),
        provisioner_type="terraform",
        traceparent="00-1-2-01",
        heartbeat_seconds=3,
        hung_seconds=120,
        template_version_id="v",
        archive_sha256=SHA256.upper(),
    )
    for name, message in work.items():
        getattr(job, name).CopyFrom(message)
    return job


def test_a_build_arrives_with_all_it_has() -> None:
    message = pb.WorkspaceBuildJob(
        build_id="b",
        workspace_id="w",
        workspace_name="adas",
        transition=types_pb2.TRANSITION_START,
        stage=pb.PREBUILD_STAGE_CLAIM,
        owner=pb.Owner(
            id="o",
            username="ada",
            full_name="Ada L.",
            email="a@example.com",
            groups=["g"],
            login_type="token",
        ),
        template_id="t",
        template_name="tn",
        version_name="vn",
        parameters=[types_pb2.ParameterValue(name="cpu", value="2")],
        previous_parameters=[types_pb2.ParameterValue(name="cpu", value="1")],
        access_url="http://gw",
        organization_name="default",
    )
    assert decode_job(a_job(workspace_build=message)) == AcquiredJob(
        ref=JobRef(job_id=JOB_ID, attempt=2),
        provisioner_type="terraform",
        traceparent="00-1-2-01",
        heartbeat_seconds=3.0,
        hung_seconds=120.0,
        template_version_id="v",
        archive_sha256=SHA256,
        work=BuildWork(
            build=Build(
                build_id="b",
                workspace_id="w",
                workspace_name="adas",
                transition=Transition.START,
                stage=Stage.CLAIM,
                owner=Owner(
                    id="o",
                    username="ada",
                    full_name="Ada L.",
                    email="a@example.com",
                    groups=("g",),
                    login_type="token",
                ),
                organization_name="default",
                template_id="t",
                template_name="tn",
                template_version_id="v",
                template_version_name="vn",
                access_url="http://gw",
                parameters={"cpu": "2"},
                previous_parameters={"cpu": "1"},
            )
        ),
    )


def test_imports_and_dry_runs_arrive() -> None:
    imported = decode_job(
        a_job(template_import=pb.TemplateImportJob(template_name="t", version_name="v"))
    )
    assert (imported.kind, imported.work) == (
        "template_import",
        ImportWork(template_name="t", version_name="v"),
    )
    values = [types_pb2.ParameterValue(name="cpu", value="2")]
    planned = decode_job(a_job(template_dry_run=pb.TemplateDryRunJob(parameters=values)))
    assert (planned.kind, planned.work) == (
        "template_dry_run",
        DryRunWork(parameters={"cpu": "2"}),
    )


def test_a_rehearsal_arrives_as_the_claim_it_plays() -> None:
    claim = pb.WorkspaceBuildJob(
        workspace_id="w",
        transition=types_pb2.TRANSITION_START,
        stage=pb.PREBUILD_STAGE_CLAIM,
        owner=pb.Owner(id="o", username="rehearsal"),
    )
    rehearsed = decode_job(a_job(template_dry_run=pb.TemplateDryRunJob(rehearsal=claim)))
    built = decode_job(a_job(workspace_build=claim))
    assert isinstance(built.work, BuildWork)
    assert (rehearsed.kind, rehearsed.work) == (
        "claim_rehearsal",
        RehearsalWork(build=built.work.build),
    )
    assert built.work.build.stage is Stage.CLAIM
    broken = decode_job(
        a_job(template_dry_run=pb.TemplateDryRunJob(rehearsal=pb.WorkspaceBuildJob()))
    )
    assert broken.work == Undecodable(reason="workspace_build.transition 0 is not known")


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (a_job(), "work is of a kind that this worker's release does not know"),
        (
            a_job(workspace_build=pb.WorkspaceBuildJob()),
            "workspace_build.transition 0 is not known",
        ),
        (
            a_job(workspace_build=pb.WorkspaceBuildJob(transition=99)),  # pyright: ignore[reportArgumentType]
            "workspace_build.transition 99 is not known",
        ),
    ],
)
def test_work_of_a_newer_release_is_named(job: pb.AcquiredJob, reason: str) -> None:
    assert decode_job(job).work == Undecodable(reason=reason)


def test_a_digest_is_never_part_of_a_path_unless_it_is_one() -> None:
    job = a_job(template_import=pb.TemplateImportJob())
    job.archive_sha256 = "../../etc"
    assert decode_job(job).work == Undecodable(reason="archive_sha256 is not 64 hexadecimal digits")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (pb.JobRef(job_id="../x", attempt=1), "ref.job_id is '../x'; it must be a UUID"),
        (pb.JobRef(job_id=str(JOB_ID), attempt=0), "ref.attempt is 0; it must be 1 or more"),
    ],
)
def test_a_job_without_a_name_is_refused(ref: pb.JobRef, message: str) -> None:
    with pytest.raises(NotDecodable, match=message):
        decode_job(pb.AcquiredJob(ref=ref))


@pytest.mark.parametrize(
    ("said", "meant"), [(0, 5.0), (-1, 5.0), (math.nan, 5.0), (1e9, 60.0), (0.001, 0.05), (2, 2.0)]
)
def test_heartbeats_are_neither_frantic_nor_forgotten(said: float, meant: float) -> None:
    job = a_job()
    job.heartbeat_seconds = said
    assert decode_job(job).heartbeat_seconds == meant


def test_the_other_offers() -> None:
    job = a_job()
    assert decode_offer(pb.AcquireJobsResponse(job=job)) == JobOffered(job=decode_job(job))
    assert decode_offer(pb.AcquireJobsResponse(keep_alive=pb.KeepAlive())) == KeptAlive()
    assert decode_offer(pb.AcquireJobsResponse()) == KeptAlive()
    reconnect = pb.AcquireJobsResponse(reconnect=pb.Reconnect(after_ms=1500))
    assert decode_offer(reconnect) == ReconnectAsked(after_seconds=1.5)
    reconnect.reconnect.after_ms = 10**9
    assert decode_offer(reconnect) == ReconnectAsked(after_seconds=60.0)


def test_a_heartbeat_brings_orders() -> None:
    assert decode_heartbeat_answer(pb.HeartbeatResponse(cancel=True)) == HeartbeatAnswer(
        cancel=True
    )
