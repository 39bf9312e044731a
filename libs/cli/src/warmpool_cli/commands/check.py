"""template check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.templates_pb2 import (
    CheckTemplateVersionRequest,
    PlannedChange,
    TemplateCheck,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.commands.options import Organization, Timeout, read_parameters
from warmpool_cli.errors import CliError, OperationFailed
from warmpool_cli.flows.checking import follow_check
from warmpool_cli.flows.streams import Patience
from warmpool_cli.invocation import Invocation
from warmpool_cli.output import Output, as_json
from warmpool_cli.render.words import counted

__all__ = ["check"]

LISTED_MAX = 20

_TemplateName = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Template name.")]
_Version = Annotated[str, typer.Option("--version", help="Version name; else the active one.")]
_Preset = Annotated[
    str, typer.Option("--preset", help="One preset; else every preset that keeps a pool.")
]
_Parameter = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Plan a new workspace with it."),
]


async def check(
    call: Invocation,
    template: _TemplateName,
    version: _Version = "",
    preset: _Preset = "",
    parameter: _Parameter = None,
    organization: Organization = "",
    timeout: Timeout = 600.0,
) -> None:
    """Plan, without changing anything, what a claim would replace, or what a new workspace has."""
    request = CheckTemplateVersionRequest(
        organization=organization,
        template=template,
        version=version,
        preset=preset,
        parameters=read_parameters(parameter or ()),
    )
    async with call.client() as client:
        queued = await client.templates.CheckTemplateVersion(request, timeout=CALL_TIMEOUT_SECONDS)
        call.output.say(f"checking {template} {queued.version.name}; nothing is changed by it")
        done: list[TemplateCheck] = []
        for each in queued.checks:
            look = f"the check goes on; look with `warmpool logs --job {each.job_id} --follow`"
            with call.output.outlived(look), call.output.step(_title(each)) as step:
                found = await follow_check(
                    client,
                    each,
                    lambda text, step=step: step.update(text),
                    timeout_seconds=timeout,
                    patience=Patience(clock=call.clock),
                )
            _tell(call.output, found)
            done.append(found)
    call.output.document(
        {"version": as_json(queued.version), "checks": [as_json(each) for each in done]}
    )
    if problem := _judge(template, done):
        raise problem


def _title(check: TemplateCheck) -> str:
    whose = f"preset {check.preset}" if check.preset else "no preset"
    if check.prebuild:
        return f"{whose}: planning a claim of prebuild {check.prebuild}"
    return f"{whose}: planning a new workspace"


def _tell(output: Output, check: TemplateCheck) -> None:
    if check.job_status != JobStatus.JOB_STATUS_SUCCEEDED:
        output.say(f"  failed: {check.error or 'no reason was given'}", style="red")
    elif check.prebuild:
        if not check.replacements:
            output.say("  a claim would replace nothing", style="green")
        for each in _shown(output, check.replacements):
            output.say(
                f"  a claim would replace {each.address}, because of:"
                f" {', '.join(each.paths) or 'no attribute'}",
                style="red",
            )
    else:
        output.say(f"  it would make {counted(len(check.resources), 'resource')}:")
        for address in check.resources[:LISTED_MAX]:
            output.say(f"    {address}")
        if len(check.resources) > LISTED_MAX:
            output.say(f"    and {len(check.resources) - LISTED_MAX} more")
        for each in _shown(output, check.owner_dependent):
            differs = ", ".join(each.paths) or "it exists for one owner alone"
            output.say(f"  depends on its owner: {each.address}: {differs}", style="yellow")
        if check.owner_dependent:
            output.say(
                "  a claim will change these; whether it replaces them can be told once a prebuild"
                " is there"
            )


def _shown(output: Output, changes: Sequence[PlannedChange]) -> Iterable[PlannedChange]:
    yield from changes[:LISTED_MAX]
    if len(changes) > LISTED_MAX:
        output.say(f"  and {len(changes) - LISTED_MAX} more")


def _judge(template: str, checks: Sequence[TemplateCheck]) -> CliError | None:
    failed = [each for each in checks if each.job_status != JobStatus.JOB_STATUS_SUCCEEDED]
    replaced = sorted({change.address for each in checks for change in each.replacements})
    if failed:
        return OperationFailed(
            f"{counted(len(failed), 'check')} of {template} could not be made: {failed[0].error}",
            f"`warmpool logs --job {failed[0].job_id}` says more",
        )
    if replaced:
        return OperationFailed(
            f"a claim of {template} would replace {', '.join(replaced[:LISTED_MAX])}",
            "keep the owner out of these attributes, or list them in the resource's ignore_changes,"
            ' or set replacements = "protect" under [claims] in the template\'s warmpool.toml',
        )
    return None
