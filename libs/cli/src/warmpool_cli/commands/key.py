"""key create, list, revoke."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from warmpool.control.v1.people_pb2 import CreateKeyRequest, ListKeysRequest, RevokeKeyRequest
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.commands.options import SecretFile, read_pairs
from warmpool_cli.flows.credentials import find_key_id
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.people import keys_table
from warmpool_cli.secret_files import new_secret_file

__all__ = ["register"]

_Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is for, for people.")]
_Kind = Annotated[str, typer.Option("--kind", help='"provisioner" or "gateway".')]
_Organization = Annotated[
    str, typer.Option("--organization", help="Whose jobs a provisioner may run; else any.")
]
_Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", help="Of the provisioners; may repeat."),
]
_Key = Annotated[str, typer.Argument(metavar="KEY", help="Its id or name.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Let provisioners and gateways in.", no_args_is_help=True)
    add_command(group, "create")(create)
    add_command(group, "list")(list_keys)
    add_command(group, "revoke")(revoke)
    app.add_typer(group, name="key")


async def create(
    call: Invocation,
    name: _Name,
    kind: _Kind = "provisioner",
    organization: _Organization = "",
    tag: _Tag = None,
    secret_file: SecretFile = None,
) -> None:
    """Make a service's key. It is shown this once, or written to a file only you may read."""
    request = CreateKeyRequest(
        kind=kind, name=name, organization=organization, tags=read_pairs("--tag", tag or ())
    )
    with nullcontext() if secret_file is None else new_secret_file(Path(secret_file)) as write:
        async with call.client() as client:
            answer = await client.people.CreateKey(request, timeout=CALL_TIMEOUT_SECONDS)
        if write is not None:
            write(answer.secret)
            answer.secret = ""
    call.output.document(as_json(answer))
    call.output.draw(keys_table([answer.key], call.clock.now()))
    if answer.secret:
        call.output.say(answer.secret)
        call.output.say("Keep it: it is not shown again.", style="yellow")
    else:
        call.output.say(f"The key is in {secret_file}.")


async def list_keys(call: Invocation) -> None:
    """List keys, newest first, without their secrets."""
    async with call.client() as client:
        answer = await client.people.ListKeys(ListKeysRequest(), timeout=CALL_TIMEOUT_SECONDS)
    call.output.document(as_json(answer))
    call.output.draw(keys_table(answer.keys, call.clock.now()))


async def revoke(call: Invocation, key: _Key) -> None:
    """End a key at once: its services are refused from then on."""
    async with call.client() as client:
        key_id = await find_key_id(client, key)
        answer = await client.people.RevokeKey(
            RevokeKeyRequest(key_id=key_id), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.say(f"key {key} is revoked")
