"""create."""

from __future__ import annotations

from typing import Annotated

import typer

from svckit.system import new_id
from warmpool.control.v1.workspaces_pb2 import (
    CreateWorkspaceRequest,
    CreateWorkspaceResponse,
    Workspace,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.commands.options import NoWait, Organization, Timeout, read_parameters
from warmpool_cli.flows.defaults import complete_parameters
from warmpool_cli.flows.waiting import (
    describe_progress,
    is_built,
    is_claim_applied,
    wait_for_workspace,
)
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import JsonValue, as_json
from warmpool_cli.render.timeline import build_timeline, timeline_json, timeline_table
from warmpool_cli.render.words import miss_word

__all__ = ["register"]

WAIT_SECONDS = 1800.0

_Template = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Template name.")]
_Name = Annotated[str, typer.Option("--name", "-n", help="Workspace name; else a made-up one.")]
_Preset = Annotated[
    str,
    typer.Option(
        "--preset", help="Preset; else the one that matches the parameters and their defaults."
    ),
]
_Version = Annotated[str, typer.Option("--version", help="Version; else the active one.")]
_Parameter = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A template parameter."),
]
_Owner = Annotated[str, typer.Option("--owner", help="Whose it shall be; else yours.")]
_RequestId = Annotated[
    str, typer.Option("--request-id", help="Makes a repeated call return the first result.")
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    add_command(app, "create")(create)


async def create(
    call: Invocation,
    template: _Template,
    name: _Name = "",
    preset: _Preset = "",
    version: _Version = "",
    parameter: _Parameter = None,
    owner: _Owner = "",
    organization: Organization = "",
    request_id: _RequestId = "",
    no_wait: NoWait = False,
    timeout_seconds: Timeout = WAIT_SECONDS,
) -> None:
    """Get a workspace: out of the pool if it has one, else built; shows how long each step took."""
    given = read_parameters(parameter or ())
    async with call.client() as client:
        if not preset:
            given = await complete_parameters(
                client, organization=organization, template=template, version=version, given=given
            )
        request = CreateWorkspaceRequest(
            organization=organization,
            template=template,
            version=version,
            preset=preset,
            parameters=given,
            name=name,
            request_id=request_id or str(new_id()),
            owner=owner,
        )
        answer = await client.workspaces.CreateWorkspace(request, timeout=CALL_TIMEOUT_SECONDS)
        _say_how(call, answer)
        workspace = answer.workspace
        if not no_wait:
            workspace = await _wait(call, client, answer, timeout_seconds)
    document: dict[str, JsonValue] = {
        "warm": answer.warm,
        "pool_miss": None if answer.warm else miss_word(answer.pool_miss),
        "pool_miss_message": answer.pool_miss_message,
        "workspace": as_json(workspace),
    }
    if workspace.HasField("claim"):
        steps = build_timeline(workspace.claim)
        document["timeline"] = timeline_json(steps)
        call.output.draw(timeline_table(steps))
    call.output.document(document)
    if not no_wait:
        call.output.say(f"{workspace.owner_name}/{workspace.name} is ready", style="green")


def _say_how(call: Invocation, answer: CreateWorkspaceResponse) -> None:
    workspace = answer.workspace
    if answer.warm:
        call.output.say(f"warm: {workspace.name} comes out of the pool of {workspace.preset_name}")
    else:
        reason = answer.pool_miss_message or "no reason was given"
        call.output.say(
            f"cold: {workspace.name} is built from scratch; the pool was missed "
            f"({miss_word(answer.pool_miss)}): {reason}",
            style="yellow",
        )


async def _wait(
    call: Invocation, client: Client, answer: CreateWorkspaceResponse, timeout_seconds: float
) -> Workspace:
    look = f"the work goes on; look with `warmpool show {answer.workspace.name}`"
    with call.output.outlived(look), call.output.step("waiting") as step:
        return await wait_for_workspace(
            client,
            answer.workspace,
            is_claim_applied if answer.warm else is_built(answer.workspace.latest_build.number),
            timeout_seconds=timeout_seconds,
            on_change=lambda workspace: step.update(describe_progress(workspace)),
        )
