"""org create, list, quota, members, add, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1.people_pb2 import (
    CreateOrganizationRequest,
    ListMembersRequest,
    ListOrganizationsRequest,
    RemoveMemberRequest,
    SetMemberRequest,
    SetOrganizationQuotaRequest,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.people import members_table, organizations_table

__all__ = ["register"]

_Name = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Its name.")]
_Default = Annotated[
    str, typer.Argument(metavar="[ORGANIZATION]", help='Its name; empty means "default".')
]
_Username = Annotated[str, typer.Argument(metavar="USER", help="User name.")]
_Roles = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="ROLE", help='"organization-admin"; else just a member.'),
]
_Limit = Annotated[
    str, typer.Argument(metavar="N|none", help='How many each person may have, or "none".')
]
_System = Annotated[bool, typer.Option("--system", help="Also the system user.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Organizations and who belongs to them.", no_args_is_help=True)
    add_command(group, "create")(create)
    add_command(group, "list")(list_organizations)
    add_command(group, "quota")(quota)
    add_command(group, "members")(members)
    add_command(group, "add")(add)
    add_command(group, "remove")(remove)
    app.add_typer(group, name="org")


async def create(call: Invocation, name: _Name) -> None:
    """Add an organization."""
    async with call.client() as client:
        answer = await client.people.CreateOrganization(
            CreateOrganizationRequest(name=name), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer.organization))
    call.output.draw(organizations_table([answer.organization], call.clock.now()))


async def list_organizations(call: Invocation) -> None:
    """List the organizations you may see, by name."""
    async with call.client() as client:
        answer = await client.people.ListOrganizations(
            ListOrganizationsRequest(), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.draw(organizations_table(answer.organizations, call.clock.now()))


async def quota(call: Invocation, name: _Name, limit: _Limit) -> None:
    """Limit how many workspaces each person may have in an organization."""
    if limit != "none" and not limit.isdecimal():
        raise UsageInvalid(f"{limit!r} is neither a number nor none", "give 0 or more, or none")
    request = SetOrganizationQuotaRequest(organization=name)
    if limit != "none":
        request.workspaces_per_user_max = min(int(limit), 2**31 - 1)
    async with call.client() as client:
        answer = await client.people.SetOrganizationQuota(request, timeout=CALL_TIMEOUT_SECONDS)
    call.output.document(as_json(answer.organization))
    call.output.draw(organizations_table([answer.organization], call.clock.now()))


async def members(call: Invocation, name: _Default = "", system: _System = False) -> None:
    """List who belongs to an organization, by name."""
    async with call.client() as client:
        answer = await client.people.ListMembers(
            ListMembersRequest(organization=name, include_system=system),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    call.output.document(as_json(answer))
    call.output.draw(members_table(answer.members))


async def add(call: Invocation, name: _Name, username: _Username, role: _Roles = None) -> None:
    """Add a user to an organization, or replace the roles they have in it."""
    async with call.client() as client:
        answer = await client.people.SetMember(
            SetMemberRequest(organization=name, username=username, roles=role or ()),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    call.output.document(as_json(answer.member))
    call.output.draw(members_table([answer.member]))


async def remove(call: Invocation, name: _Name, username: _Username) -> None:
    """Take a user out of an organization. Their workspaces stay, out of their reach."""
    async with call.client() as client:
        answer = await client.people.RemoveMember(
            RemoveMemberRequest(organization=name, username=username),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    call.output.document(as_json(answer))
    call.output.say(f"{username} is no longer a member of {name}")
