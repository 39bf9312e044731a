"""Where a provisioner job may go, and what becomes of one that fell silent.

A job is made pending. A worker acquires it (running), which opens a new attempt. From there the
worker ends it, hands it back (pending again), or falls silent and the reaper decides. A person may
cancel: a pending job ends at once, a running one becomes canceling until its worker says how it
ended. The one ambiguous case is a worker that reports success for a job that was asked to stop: the
work is done, so success wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import ceil
from typing import Final
from uuid import UUID

from svckit.errors import PermissionDenied

__all__ = [
    "ACQUISITIONS_MAX",
    "TRANSITIONS",
    "AcquiredJob",
    "BuildOfJob",
    "Fail",
    "JobEvent",
    "JobKind",
    "JobStatus",
    "Requeue",
    "Silence",
    "decide_failed",
    "decide_released",
    "decide_silent",
    "decide_tags",
    "expect_wait",
    "next_status",
    "rehearse_claim",
]

REHEARSAL_ID: Final = UUID("00000000-0000-4000-8000-0000000000fe")


class JobKind(Enum):
    """What a job does."""

    IMPORT = "template_version_import"
    DRY_RUN = "template_version_dry_run"
    BUILD = "workspace_build"


class JobStatus(Enum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Nothing follows."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


class JobEvent(Enum):
    """What happens to a job."""

    ACQUIRED = "acquired"
    RELEASED = "released"
    CANCEL_REQUESTED = "cancel_requested"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


TRANSITIONS: Final[Mapping[JobStatus, Mapping[JobEvent, JobStatus]]] = {
    JobStatus.PENDING: {
        JobEvent.ACQUIRED: JobStatus.RUNNING,
        JobEvent.RELEASED: JobStatus.PENDING,
        JobEvent.CANCEL_REQUESTED: JobStatus.CANCELED,
        JobEvent.FAILED: JobStatus.FAILED,
    },
    JobStatus.RUNNING: {
        JobEvent.RELEASED: JobStatus.PENDING,
        JobEvent.CANCEL_REQUESTED: JobStatus.CANCELING,
        JobEvent.SUCCEEDED: JobStatus.SUCCEEDED,
        JobEvent.FAILED: JobStatus.FAILED,
        JobEvent.CANCELED: JobStatus.CANCELED,
    },
    JobStatus.CANCELING: {
        JobEvent.RELEASED: JobStatus.CANCELED,
        JobEvent.CANCEL_REQUESTED: JobStatus.CANCELING,
        JobEvent.SUCCEEDED: JobStatus.SUCCEEDED,
        JobEvent.FAILED: JobStatus.FAILED,
        JobEvent.CANCELED: JobStatus.CANCELED,
    },
    JobStatus.SUCCEEDED: {},
    JobStatus.FAILED: {},
    JobStatus.CANCELED: {},
}


def next_status(status: JobStatus, event: JobEvent) -> JobStatus:
    """Where `event` leads; raises ValueError if it cannot happen in `status`."""
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise ValueError(f"a {status.value} job cannot be {event.value}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOfJob:
    """The build a job runs, and what its template may see."""

    build_id: UUID
    workspace_id: UUID
    workspace_name: str
    transition: str
    stage: str
    parameters: dict[str, str]
    previous_parameters: dict[str, str]
    owner_id: UUID
    username: str
    full_name: str
    email: str
    template_id: UUID
    template_name: str
    version_name: str
    organization_name: str


def rehearse_claim(build: BuildOfJob) -> BuildOfJob:
    """The claim of what a prebuild's first build made, by somebody who does not exist and differs
    from the pool's user in everything a template can see.
    """
    return replace(
        build,
        build_id=REHEARSAL_ID,
        workspace_name="rehearsal",
        stage="claim",
        previous_parameters=build.parameters,
        owner_id=REHEARSAL_ID,
        username="rehearsal",
        full_name="Nobody, who rehearses a claim",
        email="rehearsal@example.invalid",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquiredJob:
    """A job that is a worker's now. A dry run with a `build` rehearses it."""

    id: UUID
    attempt: int
    kind: JobKind
    provisioner_type: str
    traceparent: str
    template_version_id: UUID
    archive_sha256: bytes
    template_name: str
    version_name: str
    parameters: dict[str, str]
    workspace_id: UUID | None
    build: BuildOfJob | None


class Silence(Enum):
    """How a job fell silent."""

    UNCONFIRMED = "unconfirmed"  # acquired, but no heartbeat ever came: the answer was lost
    HUNG = "hung"  # heartbeats stopped
    STALE = "stale"  # nobody took it


ACQUISITIONS_MAX: Final = 20
"""A job that so many workers took, and either said no word of or handed back, ends: it may be what
ends them, for a worker that was ended by force hands back what it had. Workers that drain do so
too, which counts, so this is far more than a rollout needs.
"""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Another worker takes it."""


@dataclass(frozen=True, slots=True)
class Fail:
    """It ends with this error."""

    error: str
    reason: str


def decide_silent(
    silence: Silence, *, status: JobStatus, is_claim: bool, attempt: int, attempts_max: int
) -> Requeue | Fail:
    """What becomes of a job nobody hears of. A claim is worth another worker, up to
    `attempts_max`, and waits for one as long as it takes.
    """
    match silence:
        case Silence.STALE if is_claim:
            return Requeue()
        case Silence.STALE:
            return Fail("no provisioner took the job in time", "NO_PROVISIONER")
        case Silence.UNCONFIRMED if status is JobStatus.RUNNING and attempt < ACQUISITIONS_MAX:
            return Requeue()
        case Silence.HUNG if is_claim and status is JobStatus.RUNNING and attempt < attempts_max:
            return Requeue()
        case Silence.UNCONFIRMED | Silence.HUNG:
            return Fail("the provisioner fell silent", "WORKER_LOST")


def decide_released(status: JobStatus, *, attempt: int) -> Requeue | Fail:
    """What becomes of a job its worker hands back."""
    if status is JobStatus.CANCELING:
        return Fail("canceled on request", "CANCELED")
    if attempt >= ACQUISITIONS_MAX:
        return Fail(f"{attempt} provisioners took the job, and none ended it", "WORKER_LOST")
    return Requeue()


def decide_failed(
    *, is_claim: bool, is_retryable: bool, attempt: int, attempts_max: int, error: str, reason: str
) -> Requeue | Fail:
    """What becomes of a job its worker gave up. Only a claim is tried again by itself: a person
    waits for it.
    """
    if is_claim and is_retryable and attempt < attempts_max:
        return Requeue()
    return Fail(error, reason)


def expect_wait(*, ahead: int, took_seconds: float | None, in_hand: int) -> int:
    """How many seconds a pending job with so many before it may wait, if jobs go on taking as long
    as they took lately and as many run at once as run now. 0 if nothing runs: then nothing is in
    its way, or nobody works and nobody knows.
    """
    if not took_seconds or not in_hand:
        return 0
    return ceil((ahead + 1) * took_seconds / in_hand)


def decide_tags(asked: Mapping[str, str], key_tags: Mapping[str, str]) -> dict[str, str]:
    """The tags a worker serves under. A key with tags is for these alone; one without leaves the
    choice to the worker. Raises PermissionDenied for a tag beyond its key.
    """
    if not key_tags:
        return dict(asked)
    beyond = sorted(name for name, value in asked.items() if key_tags.get(name) != value)
    if beyond:
        allowed = ", ".join(f"{name}={value}" for name, value in sorted(key_tags.items()))
        raise PermissionDenied(
            f'register.tags: "{beyond[0]}" is beyond the worker\'s key, which is for {allowed}',
            reason="TAGS_BEYOND_KEY",
            field="register.tags",
        )
    return dict(key_tags)
