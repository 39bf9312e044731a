"""list, show, start, stop, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.common.v1.types_pb2 import Transition
from warmpool.control.v1.workspaces_pb2 import (
    BuildWorkspaceRequest,
    DeleteWorkspaceRequest,
    ListWorkspacesRequest,
    Workspace,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.commands.options import NoWait, Timeout, read_parameters
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.flows.finding import find_workspace
from warmpool_cli.flows.waiting import describe_progress, is_built, wait_for_workspace
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import JsonValue, as_json
from warmpool_cli.render.tables import facts_table, workspaces_table
from warmpool_cli.render.timeline import build_timeline, timeline_json, timeline_table
from warmpool_cli.render.workspace import workspace_facts

__all__ = ["register"]

PAGE_SIZE = 500
SYSTEM_USER = "prebuilds"
WAIT_SECONDS = 1800.0

_Named = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="Its name, OWNER/NAME, or its id.")
]
_Owner = Annotated[str, typer.Option("--owner", help="Whose; else yours.")]
_All = Annotated[bool, typer.Option("--all", "-a", help="Everybody's that you may read.")]
_Template = Annotated[str, typer.Option("--template", "-t", help="Only of this template.")]
_Prebuilds = Annotated[bool, typer.Option("--prebuilds", help="Also those still in a pool.")]
_Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
_Parameter = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A changed parameter."),
]
_Version = Annotated[str, typer.Option("--version", help="Version; else its present one.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    add_command(app, "list")(list_workspaces)
    add_command(app, "show")(show)
    add_command(app, "start")(start)
    add_command(app, "stop")(stop)
    add_command(app, "delete")(delete)


async def list_workspaces(
    call: Invocation,
    owner: _Owner = "",
    all_: _All = False,
    template: _Template = "",
    prebuilds: _Prebuilds = False,
    limit: _Limit = 1000,
) -> None:
    """List workspaces, newest first."""
    if owner and all_:
        raise UsageInvalid(
            "--owner and --all are given, and --all means every owner", "give one of them"
        )
    owners = ["*" if all_ else owner]
    if prebuilds and owners[0] not in ("*", SYSTEM_USER):
        owners.append(SYSTEM_USER)  # a pool's are nobody's own
    found: list[Workspace] = []
    truncated = False
    async with call.client() as client:
        for each in owners:
            listed, more = await _list(client, each, template, prebuilds, limit)
            found.extend(listed)
            truncated = truncated or more
    if len(owners) > 1:
        found.sort(key=lambda w: w.created_at.ToNanoseconds(), reverse=True)
        truncated = truncated or len(found) > limit
        del found[limit:]
    call.output.document({"workspaces": [as_json(w) for w in found], "truncated": truncated})
    if not found:
        of = f" of template {template}" if template else ""
        call.output.say(f"No workspaces{of}. Get one: warmpool create {template or 'TEMPLATE'}")
        return
    call.output.draw(workspaces_table(found, call.clock.now()))
    if truncated:
        call.output.say(f"Only the newest {limit} are shown; see more with --limit.")


async def _list(
    client: Client, owner: str, template: str, prebuilds: bool, limit: int
) -> tuple[list[Workspace], bool]:
    """An owner's, newest first, and whether there are more."""
    found: list[Workspace] = []
    token = ""
    while len(found) < limit:
        answer = await client.workspaces.ListWorkspaces(
            ListWorkspacesRequest(
                owner=owner,
                template=template,
                include_system=prebuilds,
                page_size=min(PAGE_SIZE, limit - len(found)),
                page_token=token,
            ),
            timeout=CALL_TIMEOUT_SECONDS,
        )
        found.extend(answer.workspaces)
        token = answer.next_page_token
        if not token:
            break
    return found, bool(token)


async def show(call: Invocation, workspace: _Named) -> None:
    """Show one workspace with its agents, its latest build and its claim."""
    async with call.client() as client:
        found = await find_workspace(client, workspace)
    document = as_json(found)
    call.output.draw(facts_table(workspace_facts(found, call.clock.now())))
    if found.HasField("claim"):
        steps = build_timeline(found.claim)
        document["timeline"] = timeline_json(steps)
        call.output.draw(timeline_table(steps))
    call.output.document(document)


async def start(
    call: Invocation,
    workspace: _Named,
    parameter: _Parameter = None,
    version: _Version = "",
    no_wait: NoWait = False,
    timeout_seconds: Timeout = WAIT_SECONDS,
) -> None:
    """Start a workspace, or build it anew with other parameters or another version."""
    request = BuildWorkspaceRequest(
        transition=Transition.TRANSITION_START,
        parameters=read_parameters(parameter or ()),
        version=version,
    )
    async with call.client() as client:
        await _build(call, client, workspace, request, "started", no_wait, timeout_seconds)


async def stop(
    call: Invocation,
    workspace: _Named,
    no_wait: NoWait = False,
    timeout_seconds: Timeout = WAIT_SECONDS,
) -> None:
    """Stop a workspace; what must survive stays."""
    request = BuildWorkspaceRequest(transition=Transition.TRANSITION_STOP)
    async with call.client() as client:
        await _build(call, client, workspace, request, "stopped", no_wait, timeout_seconds)


async def delete(
    call: Invocation,
    workspace: _Named,
    no_wait: NoWait = False,
    timeout_seconds: Timeout = WAIT_SECONDS,
) -> None:
    """Delete a workspace with everything it owns."""
    async with call.client() as client:
        found = await find_workspace(client, workspace)
        answer = await client.workspaces.DeleteWorkspace(
            DeleteWorkspaceRequest(workspace_id=found.id), timeout=CALL_TIMEOUT_SECONDS
        )
        await _finish(call, client, answer.workspace, "deleted", no_wait, timeout_seconds)


async def _build(
    call: Invocation,
    client: Client,
    named: str,
    request: BuildWorkspaceRequest,
    outcome: str,
    no_wait: bool,
    timeout_seconds: float,
) -> None:
    found = await find_workspace(client, named)
    request.workspace_id = found.id
    answer = await client.workspaces.BuildWorkspace(request, timeout=CALL_TIMEOUT_SECONDS)
    await _finish(call, client, answer.workspace, outcome, no_wait, timeout_seconds)


async def _finish(
    call: Invocation,
    client: Client,
    workspace: Workspace,
    outcome: str,
    no_wait: bool,
    timeout_seconds: float,
) -> None:
    final = workspace
    if not no_wait:
        look = f"the work goes on; look with `warmpool show {workspace.name}`"
        with call.output.outlived(look), call.output.step("waiting") as step:
            final = await wait_for_workspace(
                client,
                workspace,
                is_built(workspace.latest_build.number),
                timeout_seconds=timeout_seconds,
                on_change=lambda changed: step.update(describe_progress(changed)),
            )
    document: dict[str, JsonValue] = {"workspace": as_json(final), "waited": not no_wait}
    call.output.document(document)
    said = f"{final.name}: build {workspace.latest_build.number} is queued" if no_wait else ""
    call.output.say(said or f"{final.owner_name}/{final.name} is {outcome}", style="green")
