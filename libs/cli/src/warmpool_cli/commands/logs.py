"""logs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import Annotated

import typer

from warmpool.common.v1.types_pb2 import JobStatus, LogLevel, LogLine
from warmpool_cli.errors import OperationFailed, UsageInvalid
from warmpool_cli.flows.finding import find_workspace
from warmpool_cli.flows.following import follow_job_logs, read_job_logs
from warmpool_cli.flows.streams import Patience
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.words import job_word, level_word, moment

__all__ = ["register"]

_Named = Annotated[
    str, typer.Argument(metavar="[WORKSPACE]", help="Its name, OWNER/NAME, or its id.")
]
_Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")]
_Job = Annotated[str, typer.Option("--job", help="A job's id, instead of a workspace.")]

_STYLES = {LogLevel.LOG_LEVEL_WARN: "yellow", LogLevel.LOG_LEVEL_ERROR: "red"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    add_command(app, "logs")(logs)


async def logs(
    call: Invocation, workspace: _Named = "", follow: _Follow = False, job: _Job = ""
) -> None:
    """Print the log of a workspace's latest build, or of a job. JSON is one line a log line."""
    if bool(workspace) == bool(job):
        raise UsageInvalid(
            "logs needs a workspace or a job, and not both",
            "give WORKSPACE, or --job ID",
        )
    status = JobStatus.JOB_STATUS_UNSPECIFIED
    async with call.client() as client:
        job_id = job or (await find_workspace(client, workspace)).latest_build.job_id
        responses = (
            follow_job_logs(client, job_id, Patience(clock=call.clock))
            if follow
            else read_job_logs(client, job_id)
        )
        async with aclosing(responses):
            async for response in responses:
                status = response.job_status
                _print(call, response.lines)
    if follow and status in (JobStatus.JOB_STATUS_FAILED, JobStatus.JOB_STATUS_CANCELED):
        raise OperationFailed(f"the job {job_word(status)}", "the last lines of its log say why")


def _print(call: Invocation, lines: Iterable[LogLine]) -> None:
    for line in lines:
        call.output.record({**as_json(line), "level": level_word(line.level)})
        call.output.say(
            f"{moment(line.written_at).astimezone():%H:%M:%S} {line.stage:<8} {line.text}",
            style=_STYLES.get(line.level, ""),
        )
