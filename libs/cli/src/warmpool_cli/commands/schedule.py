"""schedule explain, set, show; bump."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1.pools_pb2 import ExplainScheduleRequest
from warmpool.control.v1.templates_pb2 import Schedule
from warmpool.control.v1.workspaces_pb2 import (
    BumpWorkspaceRequest,
    SetWorkspaceLifecycleRequest,
    Workspace,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.commands.options import read_limit, read_span
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.flows.finding import find_workspace
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.lifecycle import lifecycle_facts
from warmpool_cli.render.schedule import windows_table
from warmpool_cli.render.tables import facts_table

__all__ = ["read_schedule", "register"]

EXPLAIN_HELP = 'Cron windows as "CRON=N", first match wins, for example "* 8-18 * * 1-5=5".'

_Schedules = Annotated[list[str], typer.Argument(metavar="CRON=N...", help=EXPLAIN_HELP)]
_Timezone = Annotated[
    str, typer.Option("--timezone", "--tz", help="IANA time zone, for example Europe/Berlin.")
]
INSTANCES_MAX = 1_000_000
"""Far above what a pool may have; the server judges closer."""
_Instances = Annotated[
    int, typer.Option("--instances", min=0, max=INSTANCES_MAX, help="Size when none matches.")
]
_Windows = Annotated[int, typer.Option("--windows", min=1, max=50, help="How many to list.")]
_Named = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="Its name, OWNER/NAME, or its id.")
]
_Autostart = Annotated[
    str | None,
    typer.Option(
        "--autostart",
        metavar="CRON",
        help='When it starts, for example "30 8 * * 1-5"; "never" ends that.',
    ),
]
_Zone = Annotated[
    str | None,
    typer.Option("--timezone", "--tz", help="IANA time zone of --autostart; else UTC."),
]
_Ttl = Annotated[
    str | None,
    typer.Option("--ttl", metavar="SPAN", help='Stop so long after a start: 8h; or "never".'),
]
_Dormant = Annotated[
    bool | None, typer.Option("--dormant/--awake", help="Put it to rest, or wake it.")
]
_Extend = Annotated[
    str, typer.Option("--extend", metavar="SPAN", help="Stop so long from now: 2h.")
]


def register(app: typer.Typer) -> None:
    """Adds the group and `bump`."""
    group = typer.Typer(
        help="Say when workspaces start and stop; look at pool schedules.", no_args_is_help=True
    )
    add_command(group, "set")(set_schedule)
    add_command(group, "show")(show_schedule)
    add_command(group, "explain")(explain)
    app.add_typer(group, name="schedule")
    add_command(app, "bump")(bump)


async def set_schedule(
    call: Invocation,
    workspace: _Named,
    autostart: _Autostart = None,
    timezone: _Zone = None,
    ttl: _Ttl = None,
    dormant: _Dormant = None,
) -> None:
    """Say when a workspace starts and stops by itself. What is not given stays as it is."""
    if autostart is None and timezone is None and ttl is None and dormant is None:
        raise UsageInvalid(
            "nothing is given to set", "give --autostart, --timezone, --ttl, --dormant or --awake"
        )
    request = SetWorkspaceLifecycleRequest(
        autostart_cron="" if autostart == "never" else autostart,
        autostart_timezone=timezone,
        ttl_seconds=None if ttl is None else read_limit("--ttl", ttl),
        dormant=dormant,
    )
    async with call.client() as client:
        request.workspace_id = (await find_workspace(client, workspace)).id
        answer = await client.workspaces.SetWorkspaceLifecycle(
            request, timeout=CALL_TIMEOUT_SECONDS
        )
    _tell(call, answer.workspace)


async def show_schedule(call: Invocation, workspace: _Named) -> None:
    """Show when a workspace starts and stops by itself."""
    async with call.client() as client:
        found = await find_workspace(client, workspace)
    _tell(call, found)


async def bump(call: Invocation, workspace: _Named, extend: _Extend = "") -> None:
    """Say that a workspace is in use: it wakes, and stops later."""
    request = BumpWorkspaceRequest(extend_seconds=read_span("--extend", extend))
    async with call.client() as client:
        request.workspace_id = (await find_workspace(client, workspace)).id
        answer = await client.workspaces.BumpWorkspace(request, timeout=CALL_TIMEOUT_SECONDS)
    _tell(call, answer.workspace)


def _tell(call: Invocation, workspace: Workspace) -> None:
    call.output.document(as_json(workspace))
    name = f"{workspace.owner_name}/{workspace.name}"
    if workspace.is_prebuild:
        call.output.say(f"{name} is a prebuild: its pool decides, and it does nothing by itself")
        return
    facts = lifecycle_facts(workspace.lifecycle, call.clock.now())
    call.output.draw(facts_table([("workspace", name), *facts]))


async def explain(
    call: Invocation,
    schedules: _Schedules,
    timezone: _Timezone = "UTC",
    instances: _Instances = 0,
    windows: _Windows = 5,
) -> None:
    """Say which windows a set of schedules opens next, or what is wrong with it."""
    request = ExplainScheduleRequest(
        schedules=[read_schedule(text) for text in schedules],
        timezone=timezone,
        instances=instances,
        windows=windows,
    )
    async with call.client() as client:
        answer = await client.pools.ExplainSchedule(request, timeout=CALL_TIMEOUT_SECONDS)
    call.output.document(as_json(answer))
    call.output.say(f"desired now: {answer.desired_now}")
    call.output.draw(windows_table(answer.windows, timezone))


def read_schedule(text: str) -> Schedule:
    """`CRON=N` as a schedule; raises UsageInvalid. The server judges the expression itself."""
    cron, equals, count = text.rpartition("=")
    if not (equals and cron.strip() and count.strip().isdigit()):
        raise UsageInvalid(
            f"the schedule {text!r} is not CRON=N",
            'give a cron expression and a count, for example "* 8-18 * * 1-5=5"',
        )
    if len(count.strip()) > len(str(INSTANCES_MAX)) or int(count) > INSTANCES_MAX:
        raise UsageInvalid(
            f"the schedule {text!r} asks for more than {INSTANCES_MAX:,}", "give a smaller count"
        )
    return Schedule(cron=cron.strip(), instances=int(count))
