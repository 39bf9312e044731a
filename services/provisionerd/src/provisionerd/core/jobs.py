"""What the control plane hands to a worker, and what the worker says back: plain values.

A job is one unit of work; an attempt at it belongs to one worker at a time, and `JobRef` names
both, so that whatever a superseded attempt says can be refused.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from provisionerd.core.provisioner import Build, BuildResult, ImportResult, Level, Replacement

__all__ = [
    "AcquiredJob",
    "BuildWork",
    "Completion",
    "DryRunResult",
    "DryRunWork",
    "HeartbeatAnswer",
    "ImportWork",
    "JobFailure",
    "JobOffered",
    "JobRef",
    "JobResult",
    "KeptAlive",
    "LogLine",
    "Offer",
    "ReconnectAsked",
    "RehearsalWork",
    "Undecodable",
    "Work",
    "Worker",
]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class JobRef:
    """A job and the attempt at it, from 1."""

    job_id: uuid.UUID
    attempt: int

    @property
    def directory_name(self) -> str:
        """A name no other attempt has, fit for a path."""
        return f"{self.job_id}-{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWork:
    """Read a template version's parameters, presets and agents."""

    template_name: str
    version_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunWork:
    """Plan a template with values, changing nothing."""

    parameters: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalWork:
    """Plan a claim by an owner who does not exist, changing nothing."""

    build: Build


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildWork:
    """Start, stop or delete a workspace."""

    build: Build


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """Work that this release cannot read, and why; a newer worker may."""

    reason: str


Work = ImportWork | DryRunWork | RehearsalWork | BuildWork | Undecodable


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquiredJob:
    """A job in hand. `archive_sha256` is lower-case hex; `traceparent` may be empty. After
    `hung_seconds` of silence the control plane may settle it without its worker.
    """

    ref: JobRef
    provisioner_type: str
    traceparent: str
    heartbeat_seconds: float
    hung_seconds: float
    template_version_id: str
    archive_sha256: str
    work: Work

    @property
    def kind(self) -> str:
        """One word for logs and metrics."""
        match self.work:
            case ImportWork():
                return "template_import"
            case DryRunWork():
                return "template_dry_run"
            case RehearsalWork():
                return "claim_rehearsal"
            case BuildWork():
                return "workspace_build"
            case Undecodable():
                return "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOffered:
    """A job has come."""

    job: AcquiredJob


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAlive:
    """Nothing new; the stream lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectAsked:
    """Dial again after this long; jobs in hand are not affected."""

    after_seconds: float


Offer = JobOffered | KeptAlive | ReconnectAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Who asks for jobs: one run of provisionerd."""

    worker_id: str
    name: str
    version: str
    provisioner_types: tuple[str, ...]
    tags: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a job's log; `sequence` counts from 1 without gaps."""

    sequence: int
    written_at: datetime
    level: Level
    stage: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatAnswer:
    """Whether, and how, the job is to stop."""

    cancel: bool = False
    cancel_forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunResult:
    """The addresses a plan would make, those of them that depend on their owner, and what a
    rehearsed claim would replace.
    """

    resources: tuple[str, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    owner_dependent: tuple[Replacement, ...] = ()


JobResult = ImportResult | DryRunResult | BuildResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A job's good end."""

    result: JobResult


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """A job's bad end. `error` is for the person who asked; `reason` is one of CANCELED,
    VALIDATION, PROVISIONER and INTERNAL.
    """

    error: str
    reason: str
    retryable: bool
