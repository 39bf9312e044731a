"""user create, list, roles, disable, enable."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1.people_pb2 import (
    CreateUserRequest,
    ListUsersRequest,
    SetUserDisabledRequest,
    SetUserRolesRequest,
    User,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.people import users_table

__all__ = ["register"]

_Username = Annotated[str, typer.Argument(metavar="USER", help="User name.")]
_FullName = Annotated[str, typer.Option("--full-name", help="Their name, for people.")]
_Email = Annotated[str, typer.Option("--email", help="Their address.")]
_Roles = Annotated[
    list[str] | None,
    typer.Option(
        "--role", metavar="ROLE", help='"owner", "template-admin" or "auditor"; may repeat.'
    ),
]
_Organizations = Annotated[
    list[str] | None,
    typer.Option("--organization", metavar="NAME", help="To join; else the default one."),
]
_System = Annotated[
    bool, typer.Option("--system", help="Also the system user, who owns prebuilds.")
]
_NewRoles = Annotated[
    list[str] | None, typer.Argument(metavar="[ROLE]...", help="All their roles from now on.")
]
_NoRoles = Annotated[bool, typer.Option("--none", help="Take every role away.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Add people, and say what they may do.", no_args_is_help=True)
    add_command(group, "create")(create)
    add_command(group, "list")(list_users)
    add_command(group, "roles")(roles)
    add_command(group, "disable")(disable)
    add_command(group, "enable")(enable)
    app.add_typer(group, name="user")


async def create(
    call: Invocation,
    username: _Username,
    full_name: _FullName = "",
    email: _Email = "",
    role: _Roles = None,
    organization: _Organizations = None,
) -> None:
    """Add a user. They get in with a token: `warmpool token create --user`."""
    request = CreateUserRequest(
        username=username,
        full_name=full_name,
        email=email,
        roles=role or (),
        organizations=organization or (),
    )
    async with call.client() as client:
        answer = await client.people.CreateUser(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(call, answer.user)


async def list_users(call: Invocation, system: _System = False) -> None:
    """List users by name."""
    async with call.client() as client:
        answer = await client.people.ListUsers(
            ListUsersRequest(include_system=system), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.draw(users_table(answer.users, call.clock.now()))


async def roles(
    call: Invocation, username: _Username, role: _NewRoles = None, none: _NoRoles = False
) -> None:
    """Replace a user's site-wide roles. The last owner keeps theirs."""
    if bool(role) == none:
        raise UsageInvalid(
            "give the roles the user shall have, or --none",
            "for example: warmpool user roles ada template-admin auditor",
        )
    async with call.client() as client:
        answer = await client.people.SetUserRoles(
            SetUserRolesRequest(username=username, roles=role or ()), timeout=CALL_TIMEOUT_SECONDS
        )
    _show(call, answer.user)


async def disable(call: Invocation, username: _Username) -> None:
    """Refuse a user's tokens from now on. Their workspaces stay."""
    await _set_disabled(call, username, disabled=True)


async def enable(call: Invocation, username: _Username) -> None:
    """Let a disabled user in again, with the tokens they had."""
    await _set_disabled(call, username, disabled=False)


async def _set_disabled(call: Invocation, username: str, *, disabled: bool) -> None:
    async with call.client() as client:
        answer = await client.people.SetUserDisabled(
            SetUserDisabledRequest(username=username, disabled=disabled),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    _show(call, answer.user)


def _show(call: Invocation, user: User) -> None:
    call.output.document(as_json(user))
    call.output.draw(users_table([user], call.clock.now()))
