"""What the worker says, as protobuf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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
    BuildResult,
    ImportResult,
    Level,
    Parameter,
    Prebuilds,
    Preset,
    Replacement,
)
from warmpool.common.v1 import types_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb

__all__ = [
    "CHUNK_BYTES_MAX",
    "encode_completion",
    "encode_failure",
    "encode_heartbeat",
    "encode_ref",
    "encode_register",
    "encode_state",
    "encode_want",
]

CHUNK_BYTES_MAX = 1024 * 1024

_LEVELS = {
    Level.DEBUG: types_pb2.LOG_LEVEL_DEBUG,
    Level.INFO: types_pb2.LOG_LEVEL_INFO,
    Level.WARN: types_pb2.LOG_LEVEL_WARN,
    Level.ERROR: types_pb2.LOG_LEVEL_ERROR,
}


def encode_register(worker: Worker) -> pb.AcquireJobsRequest:
    """The first message of an acquire stream."""
    return pb.AcquireJobsRequest(
        register=pb.RegisterWorker(
            worker_id=worker.worker_id,
            name=worker.name,
            version=worker.version,
            provisioner_types=worker.provisioner_types,
            tags=worker.tags,
        )
    )


def encode_want(count: int) -> pb.AcquireJobsRequest:
    """Asks for more jobs."""
    return pb.AcquireJobsRequest(want=pb.WantJobs(count=count))


def encode_ref(ref: JobRef) -> pb.JobRef:
    """Which job, which attempt."""
    return pb.JobRef(job_id=str(ref.job_id), attempt=ref.attempt)


def encode_heartbeat(ref: JobRef, lines: Iterable[LogLine]) -> pb.HeartbeatRequest:
    """A sign of life with log lines."""
    return pb.HeartbeatRequest(ref=encode_ref(ref), lines=_encode_lines(lines))


def encode_state(ref: JobRef, tfstate: bytes) -> Iterator[pb.UploadStateRequest]:
    """A tfstate in parts; an empty one is one empty part."""
    for start in range(0, max(len(tfstate), 1), CHUNK_BYTES_MAX):
        yield pb.UploadStateRequest(
            ref=encode_ref(ref) if start == 0 else None,
            chunk=tfstate[start : start + CHUNK_BYTES_MAX],
        )


def encode_completion(
    ref: JobRef, completion: Completion, lines: Iterable[LogLine]
) -> pb.CompleteJobRequest:
    """A job's good end."""
    request = pb.CompleteJobRequest(ref=encode_ref(ref), lines=_encode_lines(lines))
    match completion.result:
        case ImportResult() as result:
            request.template_import.CopyFrom(_encode_import(result))
        case DryRunResult() as result:
            request.template_dry_run.CopyFrom(
                pb.TemplateDryRunResult(
                    resources=result.resources,
                    replacements=_encode_replacements(result.replacements),
                    owner_dependent=_encode_replacements(result.owner_dependent),
                )
            )
        case BuildResult() as result:
            request.workspace_build.CopyFrom(_encode_build(result))
    return request


def encode_failure(ref: JobRef, failure: JobFailure, lines: Iterable[LogLine]) -> pb.FailJobRequest:
    """A job's bad end."""
    return pb.FailJobRequest(
        ref=encode_ref(ref),
        lines=_encode_lines(lines),
        # what no database takes as text must not keep a failure from being told
        error=failure.error.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        reason=failure.reason,
        retryable=failure.retryable,
    )


def _encode_lines(lines: Iterable[LogLine]) -> Iterator[types_pb2.LogLine]:
    for line in lines:
        written_at = Timestamp()
        written_at.FromDatetime(line.written_at)
        yield types_pb2.LogLine(
            sequence=line.sequence,
            written_at=written_at,
            level=_LEVELS[line.level],
            stage=line.stage,
            text=line.text,
        )


def _encode_import(result: ImportResult) -> pb.TemplateImportResult:
    return pb.TemplateImportResult(
        parameters=[_encode_parameter(each) for each in result.parameters],
        presets=[_encode_preset(each) for each in result.presets],
        agent_names=result.agent_names,
    )


def _encode_parameter(parameter: Parameter) -> pb.ImportedParameter:
    return pb.ImportedParameter(
        name=parameter.name,
        type=parameter.type,
        display_name=parameter.display_name,
        description=parameter.description,
        default_value=parameter.default or "",
        has_default=parameter.default is not None,
        mutable=parameter.mutable,
        ephemeral=parameter.ephemeral,
        options=[
            pb.ImportedOption(name=each.name, value=each.value, description=each.description)
            for each in parameter.options
        ],
        validation_regex=parameter.regex,
        validation_error=parameter.error,
        validation_min=parameter.minimum,
        validation_max=parameter.maximum,
        validation_monotonic=parameter.monotonic,
    )


def _encode_preset(preset: Preset) -> pb.ImportedPreset:
    return pb.ImportedPreset(
        name=preset.name,
        is_default=preset.is_default,
        parameters=_encode_values(preset.parameters),
        description=preset.description,
        icon=preset.icon,
        prebuilds=None if preset.prebuilds is None else _encode_prebuilds(preset.prebuilds),
    )


def _encode_prebuilds(prebuilds: Prebuilds) -> pb.ImportedPrebuilds:
    return pb.ImportedPrebuilds(
        instances=prebuilds.instances,
        ttl_seconds=prebuilds.ttl_seconds,
        timezone=prebuilds.timezone,
        schedules=[
            pb.ImportedSchedule(cron=each.cron, instances=each.instances)
            for each in prebuilds.schedules
        ],
    )


def _encode_values(values: Mapping[str, str]) -> list[types_pb2.ParameterValue]:
    return [types_pb2.ParameterValue(name=name, value=value) for name, value in values.items()]


def _encode_replacements(replacements: Iterable[Replacement]) -> list[pb.ResourceReplacement]:
    return [pb.ResourceReplacement(address=each.address, paths=each.paths) for each in replacements]


def _encode_build(result: BuildResult) -> pb.WorkspaceBuildResult:
    return pb.WorkspaceBuildResult(
        agents=[_encode_agent(each) for each in result.agents],
        replacements=_encode_replacements(result.replacements),
        resources=[
            pb.BuiltResource(address=each.address, type=each.type, agent_names=each.agent_names)
            for each in result.resources
        ],
    )


def _encode_agent(agent: Agent) -> pb.BuiltAgent:
    return pb.BuiltAgent(
        id=agent.id,
        name=agent.name,
        token=agent.token,
        os=agent.os,
        arch=agent.arch,
        directory=agent.directory,
        env=agent.env,
        scripts=[
            pb.AgentScript(
                display_name=each.display_name,
                script=each.script,
                run_on_start=each.run_on_start,
                run_on_stop=each.run_on_stop,
                timeout_seconds=each.timeout_seconds,
                start_blocks_login=each.start_blocks_login,
                cron=each.cron,
                log_path=each.log_path,
            )
            for each in agent.scripts
        ],
        connection_timeout_seconds=agent.connection_timeout_seconds,
        apps=[
            pb.AgentApp(
                slug=each.slug,
                display_name=each.display_name,
                url=each.url,
                command=each.command,
            )
            for each in agent.apps
        ],
    )
