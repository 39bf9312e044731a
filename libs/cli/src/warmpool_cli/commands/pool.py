"""pool list, show, pause, resume, invalidate."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import Annotated

import grpc.aio
import typer
from rich.live import Live

from warmpool.control.v1.pools_pb2 import (
    InvalidatePoolRequest,
    ListPoolsRequest,
    Pool,
    PoolHealth,
    ResumePoolRequest,
    SetPoolPausedRequest,
    WatchPoolsRequest,
    WatchPoolsResponse,
)
from warmpool.control.v1.workspaces_pb2 import ListWorkspacesRequest, Workspace
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.errors import NotFound
from warmpool_cli.flows.streams import Patience, read_stream
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.pool import members_table, pool_facts, stopped_pools
from warmpool_cli.render.tables import facts_table, pool_state, pools_table, unready
from warmpool_cli.render.words import counted

__all__ = ["register"]

_TemplateOption = Annotated[str, typer.Option("--template", "-t", help="Only this template.")]
_All = Annotated[
    bool, typer.Option("--all", "-a", help="Also pools of versions that are not active.")
]
_Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on after every change.")]
_Template = Annotated[str, typer.Argument(metavar="[TEMPLATE]", help="Empty means every pool.")]
_Preset = Annotated[
    str, typer.Argument(metavar="[PRESET]", help="Empty means all of the template.")
]
_PresetOrAll = Annotated[str, typer.Argument(metavar="[PRESET]", help="Empty means all of them.")]
_RequiredTemplate = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Template name.")]

PAUSED_NOTE = "Reconciliation is paused: nothing is created or deleted. Go on: warmpool pool resume"


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Show and steer what is kept warm.", no_args_is_help=True)
    add_command(group, "list")(list_pools)
    add_command(group, "show")(show)
    add_command(group, "pause")(pause)
    add_command(group, "resume")(resume)
    add_command(group, "invalidate")(invalidate)
    app.add_typer(group, name="pool")


async def list_pools(
    call: Invocation, template: _TemplateOption = "", all_: _All = False, watch: _Watch = False
) -> None:
    """List pools with their counts; with --watch until Ctrl-C."""
    async with call.client() as client:
        if watch:
            await _watch(call, client, template)
            return
        answer = await client.pools.ListPools(
            ListPoolsRequest(template=template, include_inactive=all_),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    call.output.document(as_json(answer))
    if not answer.pools:
        of = f" of template {template}" if template else ""
        call.output.say(f"No pools{of}. A template's preset with prebuilds makes one.")
    else:
        call.output.draw(pools_table(answer.pools, call.clock.now()))
    for line in stopped_pools(answer.pools, call.clock.now()):
        call.output.say(line, style="yellow")
    if answer.reconciliation_paused:
        call.output.say(PAUSED_NOTE, style="yellow")


async def show(call: Invocation, template: _RequiredTemplate, preset: _PresetOrAll = "") -> None:
    """Show pools in full: why they are not full, and every member, failed ones included."""
    async with call.client() as client:
        answer = await client.pools.ListPools(
            ListPoolsRequest(template=template), timeout=CALL_TIMEOUT_SECONDS
        )
        pools = [pool for pool in answer.pools if preset in ("", pool.preset_name)]
        members = await _list_members(client, template) if pools else []
    if not pools:
        named = f" {preset}" if preset else ""
        raise NotFound(f"template {template} has no pool{named}", "see: warmpool pool list")
    of = {pool.preset_id: [m for m in members if _is_of(m, pool)] for pool in pools}
    call.output.document(
        {
            "pools": [
                {**as_json(pool), "members": [as_json(m) for m in of[pool.preset_id]]}
                for pool in pools
            ],
            "reconciliation_paused": answer.reconciliation_paused,
        }
    )
    now = call.clock.now()
    for pool in pools:
        facts = pool_facts(pool, now, is_all_paused=answer.reconciliation_paused)
        call.output.draw(facts_table(facts))
        if of[pool.preset_id]:
            call.output.draw(members_table(of[pool.preset_id], now))


async def pause(call: Invocation, template: _Template = "", preset: _Preset = "") -> None:
    """Stop reconciling, everywhere or for one template or preset. Jobs and claims go on."""
    await _set_paused(call, template, preset, paused=True)


async def resume(call: Invocation, template: _Template = "", preset: _Preset = "") -> None:
    """Go on reconciling, and lift the hard limit of pools that failed too often."""
    await _set_paused(call, template, preset, paused=False)


async def invalidate(call: Invocation, template: _RequiredTemplate, preset: _Preset = "") -> None:
    """Replace every present member of a template's pools, or of one pool."""
    async with call.client() as client:
        answer = await client.pools.InvalidatePool(
            InvalidatePoolRequest(template=template, preset=preset), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.say(f"{counted(answer.invalidated, 'prebuild')} will be replaced")


async def _list_members(client: Client, template: str) -> list[Workspace]:
    found: list[Workspace] = []
    token = ""
    while True:
        answer = await client.workspaces.ListWorkspaces(
            ListWorkspacesRequest(
                owner="*", template=template, include_system=True, page_size=500, page_token=token
            ),
            timeout=CALL_TIMEOUT_SECONDS,
        )
        found.extend(each for each in answer.workspaces if each.is_prebuild)
        token = answer.next_page_token
        if not token:
            return found


def _is_of(member: Workspace, pool: Pool) -> bool:
    return (member.preset_name, member.latest_build.template_version_name) == (
        pool.preset_name,
        pool.version_name,
    )


async def _set_paused(call: Invocation, template: str, preset: str, *, paused: bool) -> None:
    lifted: list[Pool] = []
    async with call.client() as client:
        answer = await client.pools.SetPoolPaused(
            SetPoolPausedRequest(template=template, preset=preset, paused=paused),
            timeout=CALL_TIMEOUT_SECONDS,
        )
        if template and not paused:
            lifted = await _lift_limits(client, template, preset)
    verb = "paused" if paused else "resumed"
    call.output.document(
        {verb: answer.changed, "limits_lifted": [pool.preset_name for pool in lifted]}
    )
    if not template:
        call.output.say(f"reconciliation {verb}" if answer.changed else f"was already {verb}")
    elif answer.changed or not lifted:
        call.output.say(f"{counted(answer.changed, 'pool')} {verb}")
    for pool in lifted:
        call.output.say(f"hard limit of {pool.preset_name} lifted: one probe build decides")


async def _lift_limits(client: Client, template: str, preset: str) -> list[Pool]:
    answer = await client.pools.ListPools(
        ListPoolsRequest(template=template), timeout=CALL_TIMEOUT_SECONDS
    )
    limited = [
        pool
        for pool in answer.pools
        if pool.health == PoolHealth.POOL_HEALTH_HARD_LIMITED and preset in ("", pool.preset_name)
    ]
    for pool in limited:
        await client.pools.ResumePool(
            ResumePoolRequest(template=template, preset=pool.preset_name),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    return limited


async def _watch(call: Invocation, client: Client, template: str) -> None:
    def start() -> grpc.aio.UnaryStreamCall[WatchPoolsRequest, WatchPoolsResponse]:
        return client.pools.WatchPools(WatchPoolsRequest(template=template))

    changes = read_stream(start, lambda: False, Patience(clock=call.clock))
    async with aclosing(changes):
        if not call.output.is_terminal:
            async for response in changes:
                call.output.record(as_json(response))
                for line in _plain_lines(response.pools):
                    call.output.say(f"{call.clock.now():%H:%M:%S} {line}")
            return
        with Live(console=call.output.console, auto_refresh=False) as live:
            async for response in changes:
                table = pools_table(response.pools, call.clock.now())
                table.caption = PAUSED_NOTE if response.reconciliation_paused else None
                live.update(table, refresh=True)


def _plain_lines(pools: Iterable[Pool]) -> list[str]:
    return [
        f"{pool.template_name}/{pool.preset_name}: desired {pool.desired}, ready {pool.eligible}, "
        f"unready {unready(pool)}, starting {pool.starting}, deleting {pool.deleting}, "
        f"failed {pool.failed}, claimed {pool.claimed_total}, {pool_state(pool)}"
        for pool in pools
    ]
