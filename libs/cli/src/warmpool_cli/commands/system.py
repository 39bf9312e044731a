"""whoami, version."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import typer

from warmpool.control.v1.system_pb2 import GetSystemRequest, WhoAmIRequest
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.errors import CliError
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.tables import facts_table

__all__ = ["register"]

SERVER_TIMEOUT_SECONDS = 3.0  # `version` answers even when nothing runs, and soon


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    add_command(app, "whoami")(whoami)
    add_command(app, "version")(version)


async def whoami(call: Invocation) -> None:
    """Show who the token belongs to, and the roles it has."""
    async with call.client() as client:
        answer = await client.system.WhoAmI(WhoAmIRequest(), timeout=CALL_TIMEOUT_SECONDS)
    call.output.document(as_json(answer))
    call.output.draw(
        facts_table(
            [
                ("user", answer.username),
                ("id", answer.user_id),
                ("roles", ", ".join(answer.roles) or "none"),
                ("at", client.address),
            ]
        )
    )


async def version(call: Invocation) -> None:
    """Show the version of this command, and of the control plane if it answers."""
    own = installed_version("warmpool-cli")
    try:
        async with call.client() as client:
            server = await client.system.GetSystem(
                GetSystemRequest(), timeout=SERVER_TIMEOUT_SECONDS
            )
    except CliError as error:
        call.output.document({"client": own, "server": None, "server_error": error.cause})
        call.output.draw(facts_table([("client", own), ("server", f"unknown: {error.cause}")]))
        return
    call.output.document({"client": own, "server": server.version, "server_error": None})
    call.output.draw(facts_table([("client", own), ("server", server.version)]))
