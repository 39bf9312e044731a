"""The claim: one statement that moves a prebuild to a person, and the cold way when there is none.

Promises: a prebuild goes to one person, once (the row lock, and a unique claim per workspace); a
request id leads to one workspace, however often it is repeated; nothing is half moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from svckit.errors import AlreadyExists

__all__ = ["Claimed", "Created", "NewIds", "PastRequest", "Wanted", "WorkspaceMaker"]

SQL = load_queries("claims")
BUILDS = load_queries("builds")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIds:
    """Ids for what a request may make."""

    workspace_id: UUID
    build_id: UUID
    job_id: UUID
    claim_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A workspace somebody asked for, everything checked."""

    organization_id: UUID
    template_id: UUID
    version_id: UUID
    preset_id: UUID | None
    owner_id: UUID
    initiator_id: UUID
    name: str
    parameters: dict[str, str]
    request_id: str | None
    requested_at: datetime
    traceparent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A prebuild changed hands."""

    workspace_id: UUID
    job_id: UUID
    provisioner_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A workspace is being built from scratch."""

    workspace_id: UUID
    job_id: UUID
    provisioner_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """What a repeated request has already led to."""

    workspace_id: UUID
    warm: bool
    pool_miss: str


class WorkspaceMaker:
    """Gives people workspaces."""

    def __init__(self, database: Database, *, agent_timeout: timedelta) -> None:
        self._database = database
        self._agent_timeout = agent_timeout

    async def find_request(self, owner_id: UUID, request_id: str) -> PastRequest | None:
        """What this request has led to, if it was made before."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.find_request, owner_id, request_id)
        if row is None:
            return None
        return PastRequest(workspace_id=row["id"], warm=row["warm"], pool_miss=row["pool_miss"])

    async def pool_parameters(self, preset_id: UUID) -> dict[str, str] | None:
        """The parameters the pool's newest member was built with; None if the pool is empty."""
        async with self._database.read() as connection:
            return await connection.fetchval(SQL.find_pool_parameters, preset_id, SYSTEM_USER_ID)

    async def claim(self, wanted: Wanted, ids: NewIds, now: datetime) -> Claimed | None:
        """Moves the oldest eligible prebuild of the preset; None if there is none.

        Raises AlreadyExists for a name the owner uses, or a request id that has been served.
        """

        async def work(connection: Connection) -> Claimed | None:
            row = await connection.fetchrow(
                SQL.claim_prebuild,
                wanted.preset_id,
                SYSTEM_USER_ID,
                wanted.owner_id,
                wanted.name,
                wanted.parameters,
                wanted.initiator_id,
                wanted.request_id,
                ids.claim_id,
                ids.build_id,
                ids.job_id,
                wanted.requested_at,
                now,
                now - self._agent_timeout,
                wanted.traceparent,
            )
            if row is None:
                return None
            return Claimed(
                workspace_id=row["workspace_id"],
                job_id=ids.job_id,
                provisioner_type=row["provisioner_type"],
            )

        try:
            return await self._database.transact(work)
        except asyncpg.UniqueViolationError as error:
            raise name_taken(error, wanted.name) from error

    async def create(self, wanted: Wanted, ids: NewIds, pool_miss: str, now: datetime) -> Created:
        """Queues the first build of a new workspace. Raises AlreadyExists as `claim` does."""

        async def work(connection: Connection) -> Created:
            provisioner_type = await insert_workspace(
                connection, wanted, ids, pool_miss=pool_miss, now=now
            )
            return Created(
                workspace_id=ids.workspace_id,
                job_id=ids.job_id,
                provisioner_type=provisioner_type,
            )

        try:
            return await self._database.transact(work)
        except asyncpg.UniqueViolationError as error:
            raise name_taken(error, wanted.name) from error


async def insert_workspace(
    connection: Connection, wanted: Wanted, ids: NewIds, *, pool_miss: str = "", now: datetime
) -> str:
    """Makes a workspace with its first build; returns the provisioner type. The pool makes its own
    so, too.
    """
    in_pool = wanted.owner_id == SYSTEM_USER_ID
    return await connection.fetchval(
        BUILDS.insert_workspace,
        ids.workspace_id,
        wanted.organization_id,
        wanted.owner_id,
        wanted.name,
        wanted.template_id,
        wanted.preset_id,
        in_pool,
        wanted.request_id,
        pool_miss,
        now,
        ids.build_id,
        ids.job_id,
        wanted.version_id,
        wanted.initiator_id,
        "create" if in_pool else "ordinary",
        "prebuild" if in_pool else "initiator",
        wanted.parameters,
        wanted.traceparent,
    )


def name_taken(error: asyncpg.UniqueViolationError, name: str) -> AlreadyExists:
    """Says which of its two promises a request would have broken."""
    if error.constraint_name == "request_is_served_once":
        return AlreadyExists(
            "this request has been served", reason="REQUEST_SERVED", field="request_id"
        )
    return AlreadyExists(
        f'name: you already have a workspace called "{name}"', reason="NAME_TAKEN", field="name"
    )
