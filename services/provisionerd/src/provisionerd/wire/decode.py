"""What the control plane says, as plain values.

Promises: unknown fields are ignored; work that this release cannot read becomes `Undecodable`, so
that its job can be failed by name; only a job without a usable reference is refused outright.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable

from provisionerd.core.jobs import (
    AcquiredJob,
    BuildWork,
    DryRunWork,
    HeartbeatAnswer,
    ImportWork,
    JobOffered,
    JobRef,
    KeptAlive,
    Offer,
    ReconnectAsked,
    RehearsalWork,
    Undecodable,
    Work,
)
from provisionerd.core.provisioner import Build, Owner, Stage, Transition
from warmpool.common.v1 import types_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb

__all__ = ["NotDecodable", "decode_heartbeat_answer", "decode_job", "decode_offer"]

_TRANSITIONS = {
    types_pb2.TRANSITION_START: Transition.START,
    types_pb2.TRANSITION_STOP: Transition.STOP,
    types_pb2.TRANSITION_DELETE: Transition.DELETE,
}
_STAGES = {
    pb.PREBUILD_STAGE_UNSPECIFIED: Stage.ORDINARY,
    pb.PREBUILD_STAGE_CREATE: Stage.CREATE,
    pb.PREBUILD_STAGE_CLAIM: Stage.CLAIM,
}
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_HEARTBEAT_SECONDS = 5.0  # when the control plane names none
_HEARTBEAT_SECONDS_MIN = 0.05
_HEARTBEAT_SECONDS_MAX = 60.0
_HUNG_SECONDS = 300.0  # when the control plane names none
_RECONNECT_SECONDS_MAX = 60.0


class NotDecodable(ValueError):
    """The message makes no sense to this release; the text names the field."""


def decode_offer(response: pb.AcquireJobsResponse) -> Offer:
    """One message of an acquire stream. What is not known yet counts as a sign of life."""
    match response.WhichOneof("message"):
        case "job":
            return JobOffered(job=decode_job(response.job))
        case "reconnect":
            after_seconds = max(0, response.reconnect.after_ms) / 1000
            return ReconnectAsked(after_seconds=min(after_seconds, _RECONNECT_SECONDS_MAX))
        case _:
            return KeptAlive()


def decode_job(job: pb.AcquiredJob) -> AcquiredJob:
    """A job; raises NotDecodable if it cannot even be referred to."""
    return AcquiredJob(
        ref=_decode_ref(job.ref),
        provisioner_type=job.provisioner_type,
        traceparent=job.traceparent,
        heartbeat_seconds=_decode_heartbeat_seconds(job.heartbeat_seconds),
        hung_seconds=_decode_hung_seconds(job.hung_seconds),
        template_version_id=job.template_version_id,
        archive_sha256=job.archive_sha256.lower(),
        work=_decode_work(job),
    )


def decode_heartbeat_answer(response: pb.HeartbeatResponse) -> HeartbeatAnswer:
    """What a heartbeat brought back."""
    return HeartbeatAnswer(cancel=response.cancel, cancel_forced=response.cancel_forced)


def _decode_ref(ref: pb.JobRef) -> JobRef:
    try:
        job_id = uuid.UUID(ref.job_id)
    except ValueError:
        raise NotDecodable(f"ref.job_id is {ref.job_id!r}; it must be a UUID") from None
    if ref.attempt < 1:
        raise NotDecodable(f"ref.attempt is {ref.attempt}; it must be 1 or more")
    return JobRef(job_id=job_id, attempt=ref.attempt)


def _decode_heartbeat_seconds(seconds: float) -> float:
    if not math.isfinite(seconds) or seconds <= 0:
        return _HEARTBEAT_SECONDS
    return min(max(seconds, _HEARTBEAT_SECONDS_MIN), _HEARTBEAT_SECONDS_MAX)


def _decode_hung_seconds(seconds: float) -> float:
    return seconds if math.isfinite(seconds) and seconds > 0 else _HUNG_SECONDS


def _decode_work(job: pb.AcquiredJob) -> Work:
    if not _SHA256.match(job.archive_sha256.lower()):
        return Undecodable(reason="archive_sha256 is not 64 hexadecimal digits")
    match job.WhichOneof("work"):
        case "template_import":
            work = job.template_import
            return ImportWork(template_name=work.template_name, version_name=work.version_name)
        case "template_dry_run":
            if job.template_dry_run.HasField("rehearsal"):
                decoded = _decode_build(job, job.template_dry_run.rehearsal)
                if isinstance(decoded, Undecodable):
                    return decoded
                return RehearsalWork(build=decoded)
            return DryRunWork(parameters=_decode_values(job.template_dry_run.parameters))
        case "workspace_build":
            decoded = _decode_build(job, job.workspace_build)
            return decoded if isinstance(decoded, Undecodable) else BuildWork(build=decoded)
        case _:
            return Undecodable(reason="work is of a kind that this worker's release does not know")


def _decode_build(job: pb.AcquiredJob, work: pb.WorkspaceBuildJob) -> Build | Undecodable:
    transition = _TRANSITIONS.get(work.transition)
    stage = _STAGES.get(work.stage)
    if transition is None:
        return Undecodable(reason=f"workspace_build.transition {work.transition} is not known")
    if stage is None:
        return Undecodable(reason=f"workspace_build.stage {work.stage} is not known")
    return Build(
        build_id=work.build_id,
        workspace_id=work.workspace_id,
        workspace_name=work.workspace_name,
        transition=transition,
        stage=stage,
        owner=Owner(
            id=work.owner.id,
            username=work.owner.username,
            full_name=work.owner.full_name,
            email=work.owner.email,
            groups=tuple(work.owner.groups),
            login_type=work.owner.login_type or "none",
        ),
        organization_name=work.organization_name,
        template_id=work.template_id,
        template_name=work.template_name,
        template_version_id=job.template_version_id,
        template_version_name=work.version_name,
        access_url=work.access_url,
        parameters=_decode_values(work.parameters),
        previous_parameters=_decode_values(work.previous_parameters),
    )


def _decode_values(values: Iterable[types_pb2.ParameterValue]) -> dict[str, str]:
    return {value.name: value.value for value in values}
