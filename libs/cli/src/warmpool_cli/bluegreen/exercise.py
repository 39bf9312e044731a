"""A blue/green upgrade under load: whether anybody notices.

A pool of agents waits, people claim all the time, and reconciler, gateway and provisioner are each
replaced as in production: the new process starts beside the old, then the old gets SIGTERM. What
agents and people saw is counted. Any lost or doubled claim, failed request, error at an agent, or
agent without a stream at the end makes the exercise fail; the gap between two streams of an agent
is shown beside its goal, and beside the time in which the old gateway sent everybody away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded import find_free_port
from svckit.system import Clock
from warmpool.control.v1.pools_pb2 import ListPoolsRequest
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool_cli.archive import pack_template
from warmpool_cli.bluegreen.agents import Crowd, Notes, open_crowd, write_agent_command
from warmpool_cli.bluegreen.people import People, come_and_go
from warmpool_cli.bluegreen.verdict import GatewayStep, find_faults
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client, open_client
from warmpool_cli.connection import Connection
from warmpool_cli.demo.telling import Teller
from warmpool_cli.errors import OperationFailed
from warmpool_cli.flows.pushing import follow_import, upload_template
from warmpool_cli.flows.streams import Patience
from warmpool_cli.local.environment import (
    LocalSettings,
    agentgw_environment,
    provisionerd_environment,
    reconciler_environment,
)
from warmpool_cli.local.layout import Layout
from warmpool_cli.local.system import LocalSystem, run_local_system

__all__ = ["Exercise", "run_exercise"]

TEMPLATE = "bluegreen"
GAP_GOAL_MILLISECONDS = 1_000
WARM_SECONDS = 600.0
LOOK_SECONDS = 0.25
AGENTS_MOVED_PER_SECOND = 80  # one machine bears all agents, which elsewhere have their own
SETTLE_SECONDS = 30.0  # for agents to be back, when nobody claims any more
GATEWAY = "agentgw"
STEADY_SECONDS = 1.0  # of load before, between and after the replacements
_TEMPLATE_FILE = """\
[[presets]]
name = "Standard"
default = true
[presets.prebuilds]
instances = {agents}

[[agents]]
name = "main"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """What to do it with."""

    root: Path
    teller: Teller
    clock: Clock
    environ: Mapping[str, str]
    agents: int
    claims_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    system: LocalSystem
    client: Client
    crowd: Crowd
    people: People
    green: Mapping[str, Mapping[str, str]]
    """What each service of the second generation is started with."""


async def run_exercise(exercise: Exercise) -> None:
    """Sets it up, does it, and tells; raises OperationFailed if anybody noticed."""
    layout = Layout(exercise.root)
    layout.make()
    settings = LocalSettings(
        port=find_free_port(), agent_port=find_free_port(), slots=8, metrics=False
    )
    green_address = f"127.0.0.1:{find_free_port()}"
    both = f"ipv4:{settings.address},{green_address}"
    command, fifo = write_agent_command(exercise.root)
    window_seconds = max(0.5, exercise.agents / AGENTS_MOVED_PER_SECOND)
    changes = _changes(layout, both, command, window_seconds)
    teller = exercise.teller
    async with (
        open_crowd(fifo, exercise.root / "crowd.log") as crowd,
        run_local_system(
            layout,
            settings,
            environ=exercise.environ,
            clock=exercise.clock,
            report=lambda step, seconds: teller.event(
                "started", f"{step:<22} {seconds:6.2f} s", step=step, seconds=round(seconds, 3)
            ),
            note=lambda line: teller.event("restarted", line),
            service_environ=changes,
        ) as system,
        open_client(
            Connection(
                address=both, token=layout.owner_token_file.read_text().strip(), source="this"
            )
        ) as client,
    ):
        await _exercise(
            exercise,
            _Site(
                system=system,
                client=client,
                crowd=crowd,
                people=People(client=client, clock=exercise.clock, template=TEMPLATE),
                green=_green(exercise, system, green_address, changes),
            ),
        )
        teller.output.say("   stopping ...")


def _changes(
    layout: Layout, both: str, command: str, window_seconds: float
) -> dict[str, dict[str, str]]:
    """What makes a system one whose services can be replaced."""
    return {
        "reconciler": {},
        "provisionerd": {
            "WARMPOOL_PROVISIONERD_RECONCILER_ADDRESS": both,
            "WARMPOOL_PROVISIONERD_WORKSPACES_DIR": str(layout.workspaces),
            "WARMPOOL_AGENT_COMMAND": command,
        },
        "agentgw": {
            "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": both,
            "WARMPOOL_AGENTGW_REUSE_PORT": "true",
            "WARMPOOL_AGENTGW_DRAIN_WINDOW_SECONDS": str(window_seconds),
            "WARMPOOL_AGENTGW_DRAIN_SECONDS": str(2 * window_seconds + 10),
        },
    }


def _green(
    exercise: Exercise,
    system: LocalSystem,
    address: str,
    changes: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, str]]:
    layout, settings, nats_url = system.layout, system.settings, system.nats.url
    own = {
        "reconciler": reconciler_environment(layout, settings, nats_url)
        | {"WARMPOOL_RECONCILER_LISTEN": address},
        "agentgw": agentgw_environment(layout, settings, nats_url),
        "provisionerd": provisionerd_environment(layout, settings, exercise.environ)
        | {"WARMPOOL_PROVISIONERD_DATA_DIR": str(layout.root / "provisioner-green")},
    }
    return {
        name: {
            **environment,
            **changes[name],
            f"WARMPOOL_{name.upper()}_PORT_FILE": str(layout.port_file(f"{name}-green")),
        }
        for name, environment in own.items()
    }


async def _exercise(exercise: Exercise, site: _Site) -> None:
    teller = exercise.teller
    teller.chapter(f"Warm a pool of {exercise.agents} agents, each with its own connection")
    await _push(exercise, site)
    began = exercise.clock.monotonic()
    await _wait_warm(exercise, site)
    seconds = exercise.clock.monotonic() - began
    teller.event("warm", f"{exercise.agents} agents wait, after {seconds:.1f} s", seconds=seconds)

    teller.chapter(
        f"Replace each service while {exercise.claims_per_second:g} claims a second come"
    )
    await site.crowd.take()
    site.crowd.total = Notes()
    async with come_and_go(site.people, claims_per_second=exercise.claims_per_second):
        await exercise.clock.sleep(STEADY_SECONDS)
        steps = {service: await _replace(exercise, site, service) for service in site.green}
    await _wait_settled(exercise, site)
    _sum_up(exercise, site, steps[GATEWAY])


async def _wait_settled(exercise: Exercise, site: _Site) -> None:
    """Until every agent waits or has its answer, or has had its time for it."""
    deadline = exercise.clock.monotonic() + SETTLE_SECONDS
    await site.crowd.take()
    while site.crowd.total.missing and exercise.clock.monotonic() < deadline:
        await exercise.clock.sleep(LOOK_SECONDS)
        await site.crowd.take()


async def _replace(exercise: Exercise, site: _Site, service: str) -> GatewayStep:
    """The new one beside the old, then the old one away; and how the agents fared."""
    clock, supervisor, layout = exercise.clock, site.system.supervisor, site.system.layout
    name = f"{service}-green"
    claimed = len(site.people.claimed)
    waiting = (await site.crowd.take()).waiting
    began = clock.monotonic()
    await supervisor.start_service(
        name, service, site.green[service], port_file=layout.port_file(name)
    )
    beside = clock.monotonic()
    await supervisor.stop_service(service)
    gone = clock.monotonic()
    await clock.sleep(STEADY_SECONDS)
    notes = await site.crowd.take()
    exercise.teller.event(
        "replaced",
        f"{service:<13} new one ready after {beside - began:.2f} s, old one gone after"
        f" {gone - beside:.2f} s more; meanwhile {len(site.people.claimed) - claimed} claims,"
        f" {notes.reconnects} agents moved, {notes.errors_count} errors",
        service=service,
        start_seconds=round(beside - began, 3),
        drain_seconds=round(gone - beside, 3),
        claimed=len(site.people.claimed) - claimed,
        waiting=waiting,
        reconnects=notes.reconnects,
        claims_heard=notes.claims_heard,
        errors=notes.errors_count,
    )
    return GatewayStep(
        waiting=waiting,
        reconnects=notes.reconnects,
        claims_heard=notes.claims_heard,
        drain_seconds=gone - beside,
    )


async def _push(exercise: Exercise, site: _Site) -> None:
    directory = exercise.root / "template"
    directory.mkdir()
    (directory / "warmpool.toml").write_text(_TEMPLATE_FILE.format(agents=exercise.agents))
    archive = pack_template(directory)
    header = PushTemplateHeader(template=TEMPLATE, provisioner_type="process", promote=True)
    pushed = await upload_template(site.client, header, archive.content, lambda _sent: None)
    patience = Patience(clock=exercise.clock)
    await follow_import(site.client, pushed.version, lambda _line: None, patience)


async def _wait_warm(exercise: Exercise, site: _Site) -> None:
    said = -1
    try:
        async with asyncio.timeout(WARM_SECONDS):
            while True:
                pools = await site.client.pools.ListPools(
                    ListPoolsRequest(template=TEMPLATE), timeout=CALL_TIMEOUT_SECONDS
                )
                ready = sum(pool.eligible for pool in pools.pools if pool.active)
                if ready // 100 > said // 100:
                    exercise.teller.event("pool", f"{ready} ready", ready=ready)
                said = ready
                if ready >= exercise.agents:
                    return
                await exercise.clock.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise OperationFailed(
            f"the pool is not warm after {WARM_SECONDS:.0f} s: {said} of {exercise.agents}",
            "try fewer agents, or keep the directory with --keep and look into services/logs",
        ) from None


def _sum_up(exercise: Exercise, site: _Site, gateway: GatewayStep) -> None:
    people, notes, teller = site.people, site.crowd.total, exercise.teller
    doubled = people.doubled + sum(count - 1 for count in notes.applied.values())
    window_milliseconds = 1_000 * gateway.drain_seconds
    gaps = {name: notes.gap_at(share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))}
    figures = {
        "agents": exercise.agents,
        "reconnects": notes.reconnects,
        "agents_left_behind": gateway.left_behind,
        "agents_missing": notes.missing,
        "agent_errors": notes.errors_count,
        "claims": len(people.claimed),
        "claims_cold": len(people.cold),
        "claims_applied": len(notes.applied),
        "claims_lost": people.lost,
        "claims_doubled": doubled,
        "requests": people.asked,
        "requests_failed": len(people.failures),
    }
    teller.chapter("Summary")
    for name, value in figures.items():
        teller.output.say(f"   {name.replace('_', ' '):<18} {value:>7}")
    teller.output.say(
        f"   {'gap of an agent':<18} p50 {gaps['p50']:.0f} ms, p99 {gaps['p99']:.0f} ms,"
        f" max {gaps['max']:.0f} ms (goal: p99 below {GAP_GOAL_MILLISECONDS} ms;"
        f" bound: the drain, {window_milliseconds:.0f} ms)"
    )
    teller.output.record(
        {
            "event": "summary",
            "elapsed_seconds": round(teller.elapsed_seconds, 3),
            **figures,
            **{f"gap_{name}_milliseconds": value for name, value in gaps.items()},
            "gap_bound_milliseconds": round(window_milliseconds, 1),
            "errors": dict(notes.errors),
            "failures": list(people.failures),
        }
    )
    if faults := find_faults(notes, people, gateway):
        raise OperationFailed(
            f"the upgrade was noticed: {'; '.join(faults[:8])}",
            "keep the directory with --keep and look into services/logs",
        )
