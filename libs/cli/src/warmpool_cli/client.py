"""The control plane's services behind one channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from svckit.channel import ClientTls, PlaintextRefused, open_channel
from svckit.errors import StartFailed
from warmpool.control.v1.notifications_pb2_grpc import NotificationServiceStub
from warmpool.control.v1.people_pb2_grpc import PeopleServiceStub
from warmpool.control.v1.pools_pb2_grpc import PoolServiceStub
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub
from warmpool.control.v1.templates_pb2_grpc import TemplateServiceStub
from warmpool.control.v1.workspaces_pb2_grpc import WorkspaceServiceStub
from warmpool_cli.connection import Connection
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.rpc_errors import explain_rpc_error

__all__ = ["CALL_TIMEOUT_SECONDS", "Client", "open_client"]

CALL_TIMEOUT_SECONDS = 30.0
"""How long one call may take; streams that follow something have no end of their own."""
# What reads; and what creates a workspace, because every such request of ours has an id.
_REPEATABLE = (
    "warmpool.control.v1.SystemService",
    *(
        f"warmpool.control.v1.{method}"
        for method in (
            "TemplateService/ListTemplates",
            "TemplateService/GetTemplate",
            "TemplateService/ListTemplateVersions",
            "TemplateService/GetTemplateVersion",
            "PeopleService/ListUsers",
            "PeopleService/ListTokens",
            "PeopleService/ListOrganizations",
            "PeopleService/ListMembers",
            "PeopleService/ListKeys",
            "PeopleService/ListAudit",
            "PoolService/ListPools",
            "PoolService/ExplainSchedule",
            "WorkspaceService/CreateWorkspace",
            "WorkspaceService/GetWorkspace",
            "WorkspaceService/ListWorkspaces",
        )
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The stubs, and where they lead."""

    address: str
    system: SystemServiceStub
    templates: TemplateServiceStub
    notifications: NotificationServiceStub
    people: PeopleServiceStub
    pools: PoolServiceStub
    workspaces: WorkspaceServiceStub


@asynccontextmanager
async def open_client(connection: Connection) -> AsyncGenerator[Client]:
    """Opens a channel for as long as the block runs; a failed call leaves it as a CliError."""
    files = (connection.ca_file, connection.cert_file, connection.key_file)
    try:
        channel = open_channel(
            connection.address,
            token=connection.token,
            tls=ClientTls(*files) if any(files) else None,
            allow_plaintext=connection.allow_plaintext,
            spread=True,
            repeatable=_REPEATABLE,
        )
    except PlaintextRefused as error:
        raise UsageInvalid(
            str(error),
            "give https://HOST:PORT, with --ca-file for a root of your own; or --allow-plaintext"
            " where something else encrypts",
        ) from error
    except (ValueError, StartFailed) as error:
        raise UsageInvalid(
            str(error),
            "give an https:// address with readable --ca-file, --cert-file and --key-file, or none",
        ) from error
    try:
        yield Client(
            address=connection.address,
            system=SystemServiceStub(channel),
            templates=TemplateServiceStub(channel),
            notifications=NotificationServiceStub(channel),
            people=PeopleServiceStub(channel),
            pools=PoolServiceStub(channel),
            workspaces=WorkspaceServiceStub(channel),
        )
    except grpc.RpcError as error:
        raise explain_rpc_error(error, connection.address) from error
    finally:
        await channel.close()
