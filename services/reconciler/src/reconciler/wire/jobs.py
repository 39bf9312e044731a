"""Jobs, their logs and their results, between protobuf and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from reconciler.core.builds import BuiltAgent, BuiltWorkspace, LogLine
from reconciler.core.jobs import AcquiredJob, BuildOfJob, JobKind
from reconciler.wire.values import LEVEL_NAMES, LEVELS, decode_time, encode_parameters, encode_time
from svckit.auth import hash_token
from svckit.errors import InvalidArgument
from warmpool.common.v1 import types_pb2 as common
from warmpool.provisioner.v1 import provisioner_pb2 as pb

__all__ = [
    "decode_built_workspace",
    "decode_lines",
    "decode_replacements",
    "encode_job",
    "encode_line",
]

TRANSITIONS: Final[Mapping[str, common.Transition.ValueType]] = {
    "start": common.TRANSITION_START,
    "stop": common.TRANSITION_STOP,
    "delete": common.TRANSITION_DELETE,
}
STAGES: Final[Mapping[str, pb.PrebuildStage.ValueType]] = {
    "ordinary": pb.PREBUILD_STAGE_UNSPECIFIED,
    "create": pb.PREBUILD_STAGE_CREATE,
    "claim": pb.PREBUILD_STAGE_CLAIM,
}
AGENTS_MAX = 64  # of one workspace


def encode_job(
    job: AcquiredJob, *, heartbeat_seconds: float, hung_seconds: float, access_url: str
) -> pb.AcquiredJob:
    """A job as its worker needs it."""
    message = pb.AcquiredJob(
        ref=pb.JobRef(job_id=str(job.id), attempt=job.attempt),
        provisioner_type=job.provisioner_type,
        traceparent=job.traceparent,
        heartbeat_seconds=heartbeat_seconds,
        hung_seconds=hung_seconds,
        template_version_id=str(job.template_version_id),
        archive_sha256=job.archive_sha256.hex(),
    )
    match job.kind:
        case JobKind.IMPORT:
            message.template_import.template_name = job.template_name
            message.template_import.version_name = job.version_name
        case JobKind.DRY_RUN:
            message.template_dry_run.parameters.extend(encode_parameters(job.parameters))
            if job.build is not None:
                message.template_dry_run.rehearsal.CopyFrom(_encode_build(job.build, access_url))
        case JobKind.BUILD:
            if job.build is None:
                raise ValueError(f"job {job.id} has no build")
            message.workspace_build.CopyFrom(_encode_build(job.build, access_url))
    return message


def _encode_build(build: BuildOfJob, access_url: str) -> pb.WorkspaceBuildJob:
    return pb.WorkspaceBuildJob(
        build_id=str(build.build_id),
        workspace_id=str(build.workspace_id),
        workspace_name=build.workspace_name,
        transition=TRANSITIONS[build.transition],
        stage=STAGES[build.stage],
        owner=pb.Owner(
            id=str(build.owner_id),
            username=build.username,
            full_name=build.full_name,
            email=build.email,
            login_type="token",
        ),
        template_id=str(build.template_id),
        template_name=build.template_name,
        version_name=build.version_name,
        parameters=encode_parameters(build.parameters),
        previous_parameters=encode_parameters(build.previous_parameters),
        access_url=access_url,
        organization_name=build.organization_name,
    )


def encode_line(line: LogLine) -> common.LogLine:
    """A log line as people read it."""
    return common.LogLine(
        sequence=line.sequence,
        written_at=encode_time(line.written_at),
        level=LEVELS[line.level],
        stage=line.stage,
        text=line.text,
    )


def decode_lines(lines: Iterable[common.LogLine], now: datetime) -> tuple[LogLine, ...]:
    """A writer's lines. A level nobody knows is info; a time nobody can read is now."""
    return tuple(
        LogLine(
            sequence=line.sequence,
            written_at=decode_time(line.written_at, now),
            level=LEVEL_NAMES.get(line.level, "info"),
            stage=line.stage[:64],
            text=line.text,
        )
        for line in lines
    )


def decode_built_workspace(result: pb.WorkspaceBuildResult) -> BuiltWorkspace:
    """What a build made; a token is hashed here and goes no further."""
    if len(result.agents) > AGENTS_MAX:
        raise InvalidArgument(
            f"workspace_build.agents: {len(result.agents)}; at most {AGENTS_MAX} are allowed",
            reason="TOO_MANY_AGENTS",
            field="workspace_build.agents",
        )
    return BuiltWorkspace(
        agents=tuple(_decode_agent(i, agent) for i, agent in enumerate(result.agents)),
        resources=tuple(
            {"address": r.address, "type": r.type, "agent_names": list(r.agent_names)}
            for r in result.resources
        ),
        replacements=decode_replacements(result.replacements),
    )


def decode_replacements(
    replacements: Iterable[pb.ResourceReplacement],
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Addresses, each with the attributes that forced it."""
    return tuple((each.address, tuple(each.paths)) for each in replacements)


def _decode_agent(index: int, agent: pb.BuiltAgent) -> BuiltAgent:
    field = f"workspace_build.agents[{index}]"
    if not agent.token:
        raise InvalidArgument(
            f"{field}.token: empty; every agent needs one", reason="TOKEN_MISSING", field=field
        )
    try:
        agent_id = UUID(agent.id)
    except ValueError:
        raise InvalidArgument(
            f'{field}.id: "{agent.id[:64]}" is not a UUID', reason="ID_INVALID", field=field
        ) from None
    manifest: dict[str, Any] = {
        "directory": agent.directory,
        "env": dict(agent.env),
        "scripts": [
            {
                "display_name": s.display_name,
                "script": s.script,
                "run_on_start": s.run_on_start,
                "run_on_stop": s.run_on_stop,
                "timeout_seconds": s.timeout_seconds,
                "log_path": s.log_path,
            }
            for s in agent.scripts
        ],
        "apps": [
            {"slug": a.slug, "display_name": a.display_name, "url": a.url} for a in agent.apps
        ],
    }
    return BuiltAgent(
        id=agent_id, name=agent.name, token_hash=hash_token(agent.token), manifest=manifest
    )
