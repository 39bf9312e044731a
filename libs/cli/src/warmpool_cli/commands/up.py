"""up."""

from __future__ import annotations

import asyncio
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from embedded import DirectoryInUse, find_free_port
from warmpool_cli.connection import STATE_DIRECTORY
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.local.environment import LocalSettings
from warmpool_cli.local.layout import Layout
from warmpool_cli.local.system import LocalSystem, run_local_system
from warmpool_cli.local.terraform import find_terraform
from warmpool_cli.render.tables import facts_table

__all__ = ["register"]

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_Directory = Annotated[Path, typer.Option("--dir", help="Where everything is kept.")]
_Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Of the control plane; 0 means any.")
]
_AgentPort = Annotated[
    int, typer.Option("--agent-port", min=0, max=65535, help="Of the gateway; 0 means any.")
]
_Slots = Annotated[int, typer.Option("--slots", min=1, max=64, help="Builds at once.")]
_Terraform = Annotated[
    str, typer.Option("--terraform", metavar="PATH", help="terraform or tofu; else by PATH.")
]
_LogLevel = Annotated[str, typer.Option("--log-level", help="DEBUG, INFO, WARNING or ERROR.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    add_command(app, "up", connects=False)(up)


async def up(
    call: Invocation,
    directory: _Directory = Path(STATE_DIRECTORY),
    port: _Port = 0,
    agent_port: _AgentPort = 0,
    slots: _Slots = 4,
    terraform: _Terraform = "",
    log_level: _LogLevel = "INFO",
) -> None:
    """Run the whole system on this machine until Ctrl-C: Postgres, NATS and all services."""
    if log_level not in LOG_LEVELS:
        raise UsageInvalid(
            f"--log-level {log_level!r} is not known", f"give one of {', '.join(LOG_LEVELS)}"
        )
    layout = Layout(directory.absolute())
    settings = LocalSettings(
        port=port or find_free_port(),
        agent_port=agent_port or find_free_port(),
        slots=slots,
        terraform=find_terraform(terraform, call.environ),
        log_level=log_level,
    )
    call.output.say(f"starting Warmpool in {layout.root}")
    try:
        async with run_local_system(
            layout,
            settings,
            environ=call.environ,
            clock=call.clock,
            report=lambda step, seconds: call.output.say(f"  {step:<22} {seconds:6.2f} s"),
            note=lambda line: call.output.say(line, style="yellow"),
        ) as system:
            _announce(call, system)
            try:
                await asyncio.Event().wait()  # until a signal
            finally:
                call.output.say("stopping ...")
    except DirectoryInUse:
        raise  # what runs there is another's, and goes on
    except BaseException:
        if layout.root.exists():
            call.output.say(f"stopped; its files stay in {layout.root}")
        raise


def _reached_by(call: Invocation, system: LocalSystem) -> str:
    """What other commands need to be told; nothing if they find the connection file."""
    if system.layout.root == call.directory / STATE_DIRECTORY:
        return ""
    return (
        f"WARMPOOL_ADDRESS={system.settings.address} "
        f"WARMPOOL_TOKEN_FILE={shlex.quote(str(system.layout.owner_token_file))} "
    )


def _announce(call: Invocation, system: LocalSystem) -> None:
    layout, settings = system.layout, system.settings
    call.output.record(
        {
            "address": settings.address,
            "agent_url": settings.agent_url,
            "token_file": str(layout.owner_token_file),
            "directory": str(layout.root),
            "provisioner_types": list(settings.provisioner_types),
            "pid": os.getpid(),
        }
    )
    call.output.say("Warmpool is ready.", style="green")
    call.output.draw(
        facts_table(
            [
                ("control plane", settings.address),
                ("agents connect to", settings.agent_url),
                ("your token (admin)", str(layout.owner_token_file)),
                ("builds", ", ".join(settings.provisioner_types)),
                ("logs", str(layout.services / "logs")),
                (
                    "in another terminal",
                    f"{_reached_by(call, system)}warmpool template push DIRECTORY",
                ),
                ("to stop", f"Ctrl-C, or kill {os.getpid()}"),
            ]
        )
    )
