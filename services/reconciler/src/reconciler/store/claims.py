"""The claim: one statement that moves a prebuild to a person, or many to many; and the cold way if
there is none.

Promises: a prebuild goes to one person, once (the row lock, and a unique claim per workspace); a
request id leads to one workspace, however often it is repeated; nothing is half moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import asyncpg

from reconciler.core.audit import Actor, read_trace_id
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.views import WorkspaceView
from reconciler.store.audit import insert_audit
from reconciler.store.db import Connection, Database
from reconciler.store.outlooks import Outlooks
from reconciler.store.queries import load_queries
from reconciler.store.views import read_view
from svckit.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from svckit.log import get_logger

__all__ = ["Claimed", "Claimer", "Created", "NewIds", "PastRequest", "Wanted", "WorkspaceMaker"]

LOG = get_logger(__name__)
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
    """A prebuild changed hands. `view` is the workspace as the claim left it."""

    view: WorkspaceView
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


class Claimer(Protocol):
    """Makes claims; `WorkspaceMaker.claim` says what that means."""

    async def claim(self, wanted: Wanted, ids: NewIds) -> Claimed | None:
        """Moves the oldest eligible prebuild of the preset; None if there is none."""
        ...


class WorkspaceMaker:
    """Gives people workspaces."""

    def __init__(self, database: Database, *, agent_timeout: timedelta) -> None:
        self._database = database
        self._agent_timeout = agent_timeout
        self._outlooks = Outlooks()

    async def find_request(self, owner_id: UUID, request_id: str) -> PastRequest | None:
        """What this request has led to, if it was made before."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.find_request, owner_id, request_id)
        if row is None:
            return None
        return PastRequest(workspace_id=row["id"], warm=row["warm"], pool_miss=row["pool_miss"])

    async def claim(self, wanted: Wanted, ids: NewIds, now: datetime) -> Claimed | None:
        """Moves the oldest eligible prebuild of the preset; None if there is none.

        Raises AlreadyExists for a name the owner uses, or a request id that has been served.
        """

        async def work(connection: Connection) -> Claimed | None:
            await self._outlooks.load(connection, [wanted.template_id], now)
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
            return None if row is None else self._read(row)

        try:
            return await self._database.change(work)
        except asyncpg.UniqueViolationError as error:
            raise name_taken(error, wanted.name) from error

    async def claim_many(
        self, asked: Sequence[tuple[Wanted, NewIds]], now: datetime
    ) -> list[Claimed | Exception | None]:
        """Does for each request what `claim` does, in one statement; what `claim` would raise is
        returned in its place. No two requests may share an owner and a name, or an owner and a
        request id. A request that loses a race for its name costs nobody else anything: then each
        is served by itself.
        """
        if len(asked) > 1:
            try:
                return await self._database.change(
                    lambda connection: self._claim_together(connection, asked, now)
                )
            except (asyncpg.PostgresError, InvalidArgument) as error:
                # Somebody took a name or served a request meanwhile, or sent what no database
                # takes. Find out who it was, and serve the others.
                LOG.debug("claims are made one by one", count=len(asked), error=error)
        return [await self._claim_alone(wanted, ids, now) for wanted, ids in asked]

    async def _claim_alone(
        self, wanted: Wanted, ids: NewIds, now: datetime
    ) -> Claimed | Exception | None:
        try:
            return await self.claim(wanted, ids, now)
        except Exception as error:
            return error

    async def _claim_together(
        self, connection: Connection, asked: Sequence[tuple[Wanted, NewIds]], now: datetime
    ) -> list[Claimed | Exception | None]:
        await self._outlooks.load(connection, [wanted.template_id for wanted, _ in asked], now)
        rows = await connection.fetch(
            SQL.claim_prebuilds,
            [wanted.preset_id for wanted, _ in asked],
            SYSTEM_USER_ID,
            [wanted.owner_id for wanted, _ in asked],
            [wanted.name for wanted, _ in asked],
            [wanted.parameters for wanted, _ in asked],
            [wanted.initiator_id for wanted, _ in asked],
            [wanted.request_id for wanted, _ in asked],
            [ids.claim_id for _, ids in asked],
            [ids.build_id for _, ids in asked],
            [ids.job_id for _, ids in asked],
            [wanted.requested_at for wanted, _ in asked],
            now,
            now - self._agent_timeout,
            [wanted.traceparent for wanted, _ in asked],
        )
        results: list[Claimed | Exception | None] = []
        for row, (wanted, _) in zip(rows, asked, strict=True):
            if row["refusal"]:
                results.append(_refuse(row["refusal"] == "served", wanted.name))
            else:
                results.append(None if row["id"] is None else self._read(row))
        return results

    def _read(self, row: asyncpg.Record) -> Claimed:
        place = self._outlooks.take_place(row["template_id"])
        return Claimed(view=read_view(row, *place), provisioner_type=row["provisioner_type"])

    async def create(self, wanted: Wanted, ids: NewIds, pool_miss: str, now: datetime) -> Created:
        """Queues the first build of a new workspace. Raises AlreadyExists as `claim` does."""

        async def work(connection: Connection) -> Created:
            provisioner_type = await insert_workspace(
                connection, wanted, ids, pool_miss=pool_miss, now=now
            )
            actor = Actor(
                user_id=wanted.initiator_id,
                audit_id=ids.claim_id,  # there is no claim to have it
                trace_id=read_trace_id(wanted.traceparent),
            )
            entry = actor.entry(
                "workspace.create",
                "workspace",
                ids.workspace_id,
                organization_id=wanted.organization_id,
                name=wanted.name,
                owner_id=str(wanted.owner_id),
                template_id=str(wanted.template_id),
                pool_miss=pool_miss,
            )
            await insert_audit(connection, entry, now)
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
    so, too. Raises FailedPrecondition if the template has been deleted.
    """
    in_pool = wanted.owner_id == SYSTEM_USER_ID
    provisioner_type: str | None = await connection.fetchval(
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
    if provisioner_type is None:
        raise FailedPrecondition(
            "template: it has been deleted; nothing can be made of it any more",
            reason="TEMPLATE_DELETED",
            field="template",
        )
    return provisioner_type


def name_taken(error: asyncpg.UniqueViolationError, name: str) -> AlreadyExists:
    """Says which of its two promises a request would have broken."""
    return _refuse(error.constraint_name == "request_is_served_once", name)


def _refuse(is_served: bool, name: str) -> AlreadyExists:
    if is_served:
        return AlreadyExists(
            "this request has been served", reason="REQUEST_SERVED", field="request_id"
        )
    return AlreadyExists(
        f'name: you already have a workspace called "{name}"', reason="NAME_TAKEN", field="name"
    )
