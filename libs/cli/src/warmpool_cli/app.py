"""The tree of commands."""

from __future__ import annotations

import typer

from warmpool_cli.commands import (
    create,
    demo,
    doctor,
    logs,
    pool,
    schedule,
    system,
    template,
    up,
    workspace,
)

__all__ = ["app"]

app = typer.Typer(
    name="warmpool",
    help="Keeps pools of prebuilt workspaces warm and hands one out the instant somebody asks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
up.register(app)
demo.register(app)
doctor.register(app)
template.register(app)
pool.register(app)
schedule.register(app)
create.register(app)
workspace.register(app)
logs.register(app)
system.register(app)
