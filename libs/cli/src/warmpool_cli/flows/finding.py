"""Finds the workspace a person named."""

from __future__ import annotations

import uuid

from warmpool.control.v1.workspaces_pb2 import GetWorkspaceRequest, Workspace
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.errors import UsageInvalid

__all__ = ["find_workspace", "read_workspace_name"]


async def find_workspace(client: Client, named: str) -> Workspace:
    """The workspace with that id, OWNER/NAME, or name among the caller's own."""
    answer = await client.workspaces.GetWorkspace(
        read_workspace_name(named), timeout=CALL_TIMEOUT_SECONDS
    )
    return answer.workspace


def read_workspace_name(named: str) -> GetWorkspaceRequest:
    """What to ask for; raises UsageInvalid for a name that cannot be one."""
    try:
        return GetWorkspaceRequest(workspace_id=str(uuid.UUID(named)))
    except ValueError:
        owner, slash, name = named.rpartition("/")
    if not name or (slash and not owner) or "/" in owner:
        raise UsageInvalid(
            f"{named!r} names no workspace", "give NAME, OWNER/NAME or the workspace's id"
        )
    return GetWorkspaceRequest(owner=owner, name=name)
