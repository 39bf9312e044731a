"""What every provisioner promises, in plain values.

A provisioner turns a template's files and an owner into running agents. Two exist: `terraform` and
`process`. Both are driven by
the same job loop and pass the same conformance suite, so nothing above this interface knows which
one runs.

Promises: a working directory belongs to one call; cancelling the call's task, or setting
`Job.cancel`, stops every process it
started; whatever tfstate exists is handed to `Job.keep_state` as soon as it exists and once more at
the end, also when the call
fails; secrets never reach a log line. What is left to others: jobs, attempts, heartbeats and
retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

__all__ = [
    "Agent",
    "AgentApp",
    "AgentScript",
    "Build",
    "BuildResult",
    "Cancel",
    "DryRun",
    "ImportResult",
    "Job",
    "Level",
    "LogSink",
    "Option",
    "Owner",
    "Parameter",
    "Prebuilds",
    "Preset",
    "Provisioner",
    "Replacement",
    "Resource",
    "Schedule",
    "Stage",
    "Transition",
]


class Transition(Enum):
    """What a build does."""

    START = "start"
    STOP = "stop"
    DELETE = "delete"


class Stage(Enum):
    """What a build means to the pool."""

    ORDINARY = "ordinary"
    CREATE = "create"  # the first build of a prebuild
    CLAIM = "claim"  # moves a prebuild to its claimant: agents keep id and token


class Level(Enum):
    """How much a log line matters."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class LogSink(Protocol):
    """Takes one line of the build log; never blocks, drops and counts when full."""

    def __call__(self, level: Level, stage: str, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Cancel:
    """How a job is told to stop: `graceful` first (interrupt), `forced` when patience ends
    (terminate).
    """

    graceful: asyncio.Event = field(default_factory=asyncio.Event)
    forced: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The surroundings of one call.

    `template_dir` holds the unpacked files, read-only by convention; `work_dir` is empty, 0700
    and wiped by the caller afterwards;
    `state` is the tfstate to start from or None; `keep_state` stores a newer one durably.
    """

    job_id: str
    template_dir: Path
    work_dir: Path
    log: LogSink
    cancel: Cancel
    state: bytes | None
    keep_state: Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner as templates see it."""

    id: str
    username: str
    full_name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()
    login_type: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What to build. `parameters` and `previous_parameters` map names to values as text."""

    build_id: str
    workspace_id: str
    workspace_name: str
    transition: Transition
    stage: Stage
    owner: Owner
    organization_name: str
    template_id: str
    template_name: str
    template_version_id: str
    template_version_name: str
    access_url: str
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    previous_parameters: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One allowed value of a parameter."""

    name: str
    value: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter as the template declares it. `type` is string, number, bool or list(string);
    `default` is None if there is none.
    """

    name: str
    type: str
    display_name: str = ""
    description: str = ""
    default: str | None = None
    mutable: bool = False
    ephemeral: bool = False
    options: tuple[Option, ...] = ()
    regex: str = ""
    error: str = ""
    minimum: int | None = None
    maximum: int | None = None
    monotonic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A pool size that holds while its cron window is open."""

    cron: str
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prebuilds:
    """The pool a preset keeps. `ttl_seconds` 0 means never expire; `timezone` is an IANA name,
    empty means UTC.
    """

    instances: int
    ttl_seconds: int = 0
    timezone: str = ""
    schedules: tuple[Schedule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named parameter set, and its pool if it keeps one."""

    name: str
    is_default: bool = False
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    description: str = ""
    icon: str = ""
    prebuilds: Prebuilds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What a template asks and offers."""

    parameters: tuple[Parameter, ...] = ()
    presets: tuple[Preset, ...] = ()
    agent_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentScript:
    """A script an agent runs."""

    display_name: str
    script: str
    run_on_start: bool = False
    run_on_stop: bool = False
    timeout_seconds: int = 0
    start_blocks_login: bool = False
    cron: str = ""
    log_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentApp:
    """An application of an agent."""

    slug: str
    display_name: str = ""
    url: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent a build made or kept. `token` is in clear; it goes to the control plane, which
    keeps a hash, and nowhere else.
    """

    id: str
    name: str
    token: str = field(repr=False)
    os: str = "linux"
    arch: str = "amd64"
    directory: str = ""
    env: dict[str, str] = field(default_factory=dict[str, str])
    scripts: tuple[AgentScript, ...] = ()
    apps: tuple[AgentApp, ...] = ()
    connection_timeout_seconds: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A resource a claim build replaced, and the attributes that forced it."""

    address: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource the workspace has, and the agents on it by name."""

    address: str
    type: str
    agent_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build made."""

    agents: tuple[Agent, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    resources: tuple[Resource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a plan would make: addresses, and those with attributes that are others for another
    owner. Such a resource changes at a claim, or is replaced, and which of both only a plan upon a
    prebuild can tell. No attribute means that it exists for one owner alone.
    """

    resources: tuple[str, ...] = ()
    owner_dependent: tuple[Replacement, ...] = ()


class Provisioner(Protocol):
    """One way to provision. Failures raise `provisionerd.core.errors.ProvisionError` or one of
    its kinds.
    """

    @property
    def type(self) -> str:
        """The name templates are pushed with: "terraform" or "process"."""
        ...

    async def import_template(self, job: Job) -> ImportResult:
        """Reads a template's parameters, presets and agents; changes nothing."""
        ...

    async def dry_run(self, job: Job, parameters: dict[str, str]) -> DryRun:
        """Plans with values and returns what it would make; changes nothing."""
        ...

    async def rehearse(self, job: Job, build: Build) -> tuple[Replacement, ...]:
        """Plans a claim upon a prebuild's tfstate and returns what it would replace; changes
        nothing.
        """
        ...

    async def build(self, job: Job, build: Build) -> BuildResult:
        """Starts, stops or deletes a workspace. Repeating it after a crash converges; a delete
        without tfstate succeeds.
        """
        ...
