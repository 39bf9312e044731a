"""demo."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from embedded import find_free_port
from svckit.system import new_id
from warmpool_cli.bluegreen.exercise import Exercise, run_exercise
from warmpool_cli.connection import STATE_DIRECTORY
from warmpool_cli.demo.example import ProvisionerChoice, choose_example
from warmpool_cli.demo.gateway import SupervisedGateway
from warmpool_cli.demo.story import Story, tell_story
from warmpool_cli.demo.telling import Teller
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.local.environment import LocalSettings
from warmpool_cli.local.layout import Layout
from warmpool_cli.local.system import run_local_system

__all__ = ["register"]

_Provisioner = Annotated[
    ProvisionerChoice,
    typer.Option("--provisioner", help="auto takes terraform or tofu if one is on PATH."),
]
_Terraform = Annotated[
    str, typer.Option("--terraform", metavar="PATH", help="terraform or tofu; else by PATH.")
]
_Keep = Annotated[bool, typer.Option("--keep", help="Leave its directory for a look.")]
_BlueGreen = Annotated[
    bool,
    typer.Option("--bluegreen", help="Replace every service under load instead, and count."),
]
_Agents = Annotated[
    int, typer.Option("--agents", min=1, max=2000, help="With --bluegreen: how many wait.")
]
_Claims = Annotated[
    float,
    typer.Option("--claims", min=0.1, max=50, help="With --bluegreen: how many a second."),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    add_command(app, "demo", connects=False)(demo)


async def demo(
    call: Invocation,
    provisioner: _Provisioner = ProvisionerChoice.AUTO,
    terraform: _Terraform = "",
    keep: _Keep = False,
    bluegreen: _BlueGreen = False,
    agents: _Agents = 500,
    claims: _Claims = 4.0,
) -> None:
    """Show the main job on a system of its own, with a crash in the middle, then clean up."""
    if bluegreen:
        await _bluegreen(call, keep=keep, agents=agents, claims_per_second=claims)
        return
    example = choose_example(provisioner, terraform, call.environ, call.directory)
    teller = Teller(call.output, call.clock)
    teller.event(
        "example",
        f"Warmpool demo with {example.reason}",
        provisioner_type=example.provisioner_type,
        directory=str(example.directory),
    )
    with _own_directory(call, keep=keep) as root:
        layout = Layout(root)
        settings = LocalSettings(
            port=find_free_port(),
            agent_port=find_free_port(),
            terraform=example.terraform,
            metrics=False,
        )
        teller.output.say(f"   everything it makes is in {root}")
        try:
            async with run_local_system(
                layout,
                settings,
                environ=call.environ,
                clock=call.clock,
                report=lambda step, seconds: teller.event(
                    "started", f"{step:<22} {seconds:6.2f} s", step=step, seconds=round(seconds, 3)
                ),
                note=lambda line: teller.event("restarted", line),
            ) as system:
                await tell_story(
                    Story(
                        client=system.client,
                        gateway=SupervisedGateway(system.supervisor, call.clock),
                        teller=teller,
                        clock=call.clock,
                        workspaces=layout.workspaces,
                    ),
                    example,
                )
                call.output.say("   stopping ...")
        except BaseException:
            call.output.say("stopped; cleaned up", style="yellow")
            raise
    _say_done(teller, keep=keep)


async def _bluegreen(
    call: Invocation, *, keep: bool, agents: int, claims_per_second: float
) -> None:
    teller = Teller(call.output, call.clock)
    with _own_directory(call, keep=keep) as root:
        teller.output.say(f"   everything it makes is in {root}")
        await run_exercise(
            Exercise(
                root=root,
                teller=teller,
                clock=call.clock,
                environ=call.environ,
                agents=agents,
                claims_per_second=claims_per_second,
            )
        )
    _say_done(teller, keep=keep)


def _say_done(teller: Teller, *, keep: bool) -> None:
    teller.event(
        "done",
        f"done in {teller.elapsed_seconds:.1f} s; every process is stopped"
        + ("" if keep else ", every file is removed"),
    )


@contextmanager
def _own_directory(call: Invocation, *, keep: bool) -> Generator[Path]:
    parent = call.directory / STATE_DIRECTORY
    root = parent / f"demo-{new_id().hex[:8]}"
    root.mkdir(mode=0o700, parents=True)
    try:
        yield root
    finally:
        if keep:
            call.output.say(f"kept: {root}")
        else:
            shutil.rmtree(root)
            with suppress(OSError):  # somebody else's files are in it
                parent.rmdir()
