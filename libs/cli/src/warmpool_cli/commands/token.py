"""token create, list, revoke."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from warmpool.control.v1.people_pb2 import (
    CreateTokenRequest,
    ListTokensRequest,
    RevokeTokenRequest,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.commands.options import SecretFile, read_span
from warmpool_cli.flows.credentials import find_token_id
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.people import tokens_table
from warmpool_cli.secret_files import new_secret_file

__all__ = ["register"]

_Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is for, for people.")]
_User = Annotated[str, typer.Option("--user", help="Whose; else yours.")]
_Lifetime = Annotated[
    str,
    typer.Option(
        "--lifetime",
        metavar="SPAN",
        help="How long it lives, up to a year: 12h, 7d. Else 30 days.",
    ),
]
_Token = Annotated[str, typer.Argument(metavar="TOKEN", help="Its id or name.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Make tokens, and end them.", no_args_is_help=True)
    add_command(group, "create")(create)
    add_command(group, "list")(list_tokens)
    add_command(group, "revoke")(revoke)
    app.add_typer(group, name="token")


async def create(
    call: Invocation,
    name: _Name,
    user: _User = "",
    lifetime: _Lifetime = "",
    secret_file: SecretFile = None,
) -> None:
    """Make a token. It is shown this once, or written to a file that only you may read."""
    request = CreateTokenRequest(
        name=name, username=user, lifetime_seconds=read_span("--lifetime", lifetime)
    )
    with nullcontext() if secret_file is None else new_secret_file(Path(secret_file)) as write:
        async with call.client() as client:
            answer = await client.people.CreateToken(request, timeout=CALL_TIMEOUT_SECONDS)
        if write is not None:
            write(answer.secret)
            answer.secret = ""
    call.output.document(as_json(answer))
    call.output.draw(tokens_table([answer.token], call.clock.now()))
    if answer.secret:
        call.output.say(answer.secret)
        call.output.say("Keep it: it is not shown again.", style="yellow")
    else:
        call.output.say(f"The token is in {secret_file}.")


async def list_tokens(call: Invocation, user: _User = "") -> None:
    """List tokens, newest first, without their secrets."""
    async with call.client() as client:
        answer = await client.people.ListTokens(
            ListTokensRequest(username=user), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.draw(tokens_table(answer.tokens, call.clock.now()))


async def revoke(call: Invocation, token: _Token, user: _User = "") -> None:
    """End a token at once."""
    async with call.client() as client:
        token_id = await find_token_id(client, token, user)
        answer = await client.people.RevokeToken(
            RevokeTokenRequest(token_id=token_id), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.say(f"token {token} is revoked")
