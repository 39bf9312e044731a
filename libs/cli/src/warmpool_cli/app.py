"""The tree of commands."""

from __future__ import annotations

import typer

from warmpool_cli.commands import (
    audit,
    create,
    demo,
    doctor,
    inbox,
    key,
    logs,
    notification,
    org,
    pool,
    schedule,
    system,
    template,
    token,
    up,
    user,
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
user.register(app)
token.register(app)
org.register(app)
key.register(app)
audit.register(app)
inbox.register(app)
notification.register(app)
system.register(app)
