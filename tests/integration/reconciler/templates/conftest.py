"""The template API on a real port, its database, and a worker that imports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from reconciler.core.hints import Promise
from reconciler.core.identity import DEFAULT_ORGANIZATION_ID
from reconciler.core.jobs import AcquiredJob
from reconciler.core.permissions import UserPrincipal
from reconciler.core.templates import (
    ImportedOption,
    ImportedParameter,
    ImportedPrebuilds,
    ImportedPreset,
    ImportedSchedule,
    ImportResult,
)
from reconciler.rpc.authorizer import TokenAuthorizer
from reconciler.rpc.templates import TemplateServicer
from reconciler.store.builds import JobEnds
from reconciler.store.cipher import StateCipher
from reconciler.store.claims import NewIds, Wanted, WorkspaceMaker
from reconciler.store.db import Database
from reconciler.store.identity import Identities, ensure_bootstrap
from reconciler.store.jobs import JobQueue, Worker
from svckit.auth import hash_token
from svckit.channel import open_channel
from svckit.server import GrpcServer
from testkit.clock import EPOCH, SettableClock
from warmpool.control.v1 import templates_pb2 as pb
from warmpool.control.v1 import templates_pb2_grpc as rpc

ARCHIVE = b"\x1f\x8b" + b"terraform" * 1000
POOLED = ImportResult(
    parameters=(
        ImportedParameter(
            name="region",
            display_name="Region",
            options=(
                ImportedOption(name="Paris", value="eu", description="near"),
                ImportedOption(name="Ohio", value="us"),
            ),
        ),
        ImportedParameter(
            name="cpus",
            type="number",
            default_value="2",
            has_default=True,
            mutable=True,
            validation_min=1,
            validation_max=8,
        ),
    ),
    presets=(
        ImportedPreset(name="bare", parameters={"region": "us"}, description="no pool"),
        ImportedPreset(
            name="small",
            is_default=True,
            parameters={"region": "eu"},
            prebuilds=ImportedPrebuilds(
                instances=2,
                ttl_seconds=7200,
                timezone="Europe/Paris",
                schedules=(ImportedSchedule(cron="* 8-17 * * 1-5", instances=5),),
            ),
        ),
    ),
    agent_names=("main",),
)


class Ids:
    """Makes 1000, 1001, ..."""

    def __init__(self) -> None:
        self._numbers = count(1000)

    def __call__(self) -> UUID:
        return UUID(int=next(self._numbers))


@dataclass
class RecordedHints:
    """Remembers what was hinted at."""

    jobs: list[tuple[UUID, UUID, str]] = field(default_factory=list[tuple[UUID, UUID, str]])
    pools: list[tuple[UUID, str]] = field(default_factory=list[tuple[UUID, str]])

    def job_posted(self, organization_id: UUID, job_id: UUID, provisioner_type: str) -> None:
        self.jobs.append((organization_id, job_id, provisioner_type))

    def pool_changed(self, preset_id: UUID, reason: str) -> None:
        self.pools.append((preset_id, reason))

    def workspace_changed(self, workspace_id: UUID) -> None:
        raise AssertionError("no template changes a workspace")

    def outbox_written(self, promise: Promise) -> None:
        raise AssertionError("no template writes to the outbox")


class ControlPlane:
    """A server with the template API, its database, and a worker that imports."""

    def __init__(self, database: Database, port: int, clock: SettableClock, ids: Ids) -> None:
        self.database = database
        self.port = port
        self.clock = clock
        self.ids = ids
        self.hints = RecordedHints()
        self.worker: Worker | None = None

    async def push(
        self,
        template: str = "docker",
        *,
        archive: bytes = ARCHIVE,
        parts: Iterable[pb.PushTemplateVersionRequest] | None = None,
        **header: Any,
    ) -> pb.PushTemplateVersionResponse:
        """Pushes as the owner: a header of these fields and the archive, or just these parts."""
        fields: dict[str, Any] = {"provisioner_type": "terraform", "promote": True} | header
        first = pb.PushTemplateVersionRequest(
            header=pb.PushTemplateHeader(template=template, **fields)
        )
        chunks = (
            pb.PushTemplateVersionRequest(chunk=archive[start : start + 4096])
            for start in range(0, len(archive), 4096)
        )
        sent = (first, *chunks) if parts is None else parts
        async with self.client() as stub:
            return await stub.PushTemplateVersion(iter(sent))

    @asynccontextmanager
    async def client(self, token: str = "owner-token") -> AsyncGenerator[rpc.TemplateServiceStub]:
        async with open_channel(f"127.0.0.1:{self.port}", token=token) as channel:
            yield rpc.TemplateServiceStub(channel)

    async def acquire(self) -> AcquiredJob:
        """A worker takes the next job."""
        assert self.worker is not None
        job = await JobQueue(self.database).acquire(self.worker, self.clock.now())
        assert job is not None
        return job

    async def complete(self, job: AcquiredJob, result: ImportResult = POOLED) -> tuple[UUID, ...]:
        """It completes it; returns the pools to look at."""
        aftermath = await JobEnds(self.database, StateCipher([])).complete_import(
            job.id, job.attempt, None, result, (), self.clock.now()
        )
        assert aftermath is not None
        return aftermath.preset_ids

    async def import_next(self, result: ImportResult = POOLED) -> tuple[UUID, ...]:
        """It takes the next job and completes it."""
        return await self.complete(await self.acquire(), result)

    async def push_and_import(self, version: str = "", **header: Any) -> pb.TemplateVersion:
        self.clock.advance(1)
        pushed = await self.push(version=version, **header)
        await self.import_next()
        async with self.client() as stub:
            got = await stub.GetTemplateVersion(
                pb.GetTemplateVersionRequest(version_id=pushed.version.id)
            )
        return got.version

    async def make_workspace(self, version: pb.TemplateVersion, owner_id: UUID) -> None:
        ids = NewIds(
            workspace_id=self.ids(), build_id=self.ids(), job_id=self.ids(), claim_id=self.ids()
        )
        wanted = Wanted(
            organization_id=DEFAULT_ORGANIZATION_ID,
            template_id=UUID(version.template_id),
            version_id=UUID(version.id),
            preset_id=None,
            owner_id=owner_id,
            initiator_id=owner_id,
            name=f"w-{ids.workspace_id.int}",
            parameters={},
            request_id=None,
            requested_at=EPOCH,
            traceparent="",
        )
        maker = WorkspaceMaker(self.database, agent_timeout=timedelta(seconds=60))
        await maker.create(wanted, ids, "", EPOCH)

    async def execute(self, statement: str, *arguments: object) -> None:
        async with self.database.read() as connection:
            await connection.execute(statement, *arguments)

    async def fetch(self, statement: str, *arguments: object) -> list[dict[str, object]]:
        async with self.database.read() as connection:
            return [dict(row) for row in await connection.fetch(statement, *arguments)]


@pytest.fixture
async def plane(migrated_database: Database) -> AsyncGenerator[ControlPlane]:
    clock, ids = SettableClock(), Ids()
    await ensure_bootstrap(
        migrated_database, hash_token("owner-token"), hash_token("key"), None, EPOCH, ids
    )
    identities = Identities(migrated_database)
    plane = ControlPlane(migrated_database, 0, clock, ids)
    servicer = TemplateServicer(migrated_database, plane.hints, clock, ids)
    server = GrpcServer(
        "127.0.0.1:0",
        [lambda s: rpc.add_TemplateServiceServicer_to_server(servicer, s)],
        TokenAuthorizer(identities, clock),
    )
    for name, roles, home in (
        ("member", [], []),
        ("home-admin", [], ["organization-admin"]),
        ("template-admin", ["template-admin"], None),
        ("stranger", [], None),
    ):
        user_id = ids()
        await plane.execute(
            "INSERT INTO users (id, username, roles, created_at) VALUES ($1, $2, $3, $4)",
            user_id,
            name,
            roles,
            EPOCH,
        )
        await plane.execute(
            "INSERT INTO api_tokens (id, user_id, name, token_hash, created_at)"
            " VALUES ($1, $2, 'test', $3, $4)",
            ids(),
            user_id,
            hash_token(name),
            EPOCH,
        )
        if home is not None:
            await plane.execute(
                "INSERT INTO organization_members (organization_id, user_id, roles, created_at)"
                " VALUES ($1, $2, $3, $4)",
                DEFAULT_ORGANIZATION_ID,
                user_id,
                home,
                EPOCH,
            )
    key = await identities.find_credential(hash_token("key"))
    assert key is not None
    assert not isinstance(key.principal, UserPrincipal)
    plane.worker = Worker(
        id=ids(),
        name="worker",
        version="1",
        provisioner_types=("terraform",),
        tags={"zone": "eu"},
        key_id=key.principal.key_id,
        organization_id=None,
    )
    plane.port = await server.start()
    try:
        yield plane
    finally:
        await server.stop(1)
