"""A small installation in a real database: one template with a pool, people, a worker that does as
it is told.

It uses the reconciler's own stores, so a test says what happens in the words of the product. The
clock stands still until it is moved.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from reconciler.core.aftermath import Aftermath
from reconciler.core.audit import Actor
from reconciler.core.builds import BuiltAgent, BuiltWorkspace
from reconciler.core.hints import Promise
from reconciler.core.identity import DEFAULT_ORGANIZATION_ID, SYSTEM_USER_ID
from reconciler.core.jobs import AcquiredJob
from reconciler.core.lifecycle import TemplatePolicy
from reconciler.core.names import prebuild_name
from reconciler.store.builds import JobEnds
from reconciler.store.cipher import StateCipher
from reconciler.store.claims import NewIds, Wanted, WorkspaceMaker
from reconciler.store.db import Connection, Database
from reconciler.store.gateway import Agents, ReinitStep
from reconciler.store.jobs import JobQueue, Worker
from reconciler.store.lifecycle import Lifecycles
from reconciler.store.pools import Pools
from reconciler.store.templates import Templates
from reconciler.store.tfstates import Tfstates
from reconciler.store.workspaces import Workspaces
from testkit.clock import SettableClock

__all__ = ["AGENT_TIMEOUT", "PoolWorld", "RecordedHints", "new_ids", "token_hash", "token_of"]

AGENT_TIMEOUT = timedelta(seconds=60)


def new_ids() -> NewIds:
    """Ids for what a request may make."""
    return NewIds(workspace_id=uuid4(), build_id=uuid4(), job_id=uuid4(), claim_id=uuid4())


@dataclass(slots=True)
class RecordedHints:
    """Hints, as they were said."""

    said: list[tuple[str, UUID | None]] = field(default_factory=list[tuple[str, UUID | None]])

    def job_posted(self, organization_id: UUID, job_id: UUID, provisioner_type: str) -> None:
        """Recorded."""
        self.said.append(("job_posted", job_id))

    def pool_changed(self, preset_id: UUID, reason: str) -> None:
        """Recorded."""
        self.said.append((f"pool_changed:{reason}", preset_id))

    def workspace_changed(self, workspace_id: UUID) -> None:
        """Recorded."""
        self.said.append(("workspace_changed", workspace_id))

    def outbox_written(self, promise: Promise) -> None:
        """Recorded."""
        self.said.append(("outbox_written", None))


class PoolWorld:
    """The installation. Make it with `PoolWorld.create`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SettableClock()
        self.queue = JobQueue(database)
        self.cipher = StateCipher([b"k" * 32])
        self.tfstates = Tfstates(database, self.cipher)
        self.ends = JobEnds(database, self.cipher)
        self.maker = WorkspaceMaker(database, agent_timeout=AGENT_TIMEOUT)
        self.lifecycles = Lifecycles(database)
        self.templates = Templates(database)
        self.agents = Agents(database, self.cipher, agent_timeout=AGENT_TIMEOUT)
        self.workspaces = Workspaces(database, agent_timeout=AGENT_TIMEOUT)
        self.pools = Pools(
            database, agent_timeout=AGENT_TIMEOUT, failure_lookback=timedelta(hours=1)
        )
        self.ada = uuid4()
        self.template_id = uuid4()
        self.version_id = uuid4()
        self.preset_id = uuid4()
        self._names = itertools.count(1)
        self.worker = Worker(
            id=uuid4(),
            name="worker",
            version="test",
            provisioner_types=("process",),
            tags={},
            key_id=uuid4(),
            organization_id=None,
        )

    @classmethod
    async def create(cls, database: Database, *, instances: int = 2) -> PoolWorld:
        """A migrated database gets a user "ada" and template "dev" with the preset "standard"."""
        world = cls(database)
        async with database.read() as connection:
            await world._insert_people(connection)
            await world._insert_template(connection, instances)
        return world

    async def _insert_people(self, connection: Connection) -> None:
        now = self.clock.now()
        await connection.execute(
            "INSERT INTO users (id, username, created_at) VALUES ($1, 'ada', $2)", self.ada, now
        )
        await connection.execute(
            "INSERT INTO service_keys (id, kind, name, key_hash, created_at)"
            " VALUES ($1, 'provisioner', 'workers', $2, $3)",
            self.worker.key_id,
            hashlib.sha256(b"worker").digest(),
            now,
        )

    async def _insert_template(self, connection: Connection, instances: int) -> None:
        now = self.clock.now()
        await connection.execute(
            "INSERT INTO templates (id, organization_id, name, provisioner_type, created_at)"
            " VALUES ($1, $2, 'dev', 'process', $3)",
            self.template_id,
            DEFAULT_ORGANIZATION_ID,
            now,
        )
        await self.add_version(self.version_id, "v1", connection)
        await self.add_preset(self.preset_id, "standard", instances, connection)
        await self.promote(self.version_id, connection)

    async def add_version(self, version_id: UUID, name: str, connection: Connection) -> None:
        """Adds an imported version."""
        now = self.clock.now()
        archive = hashlib.sha256(name.encode()).digest()
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO archives VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", archive, b"", now
            )
            job_id = uuid4()
            await connection.execute(
                "INSERT INTO template_versions (id, template_id, name, job_id, archive_sha256,"
                " promote_on_success, created_by, created_at, imported_at)"
                " VALUES ($1, $2, $3, $4, $5, false, $6, $7, $7)",
                version_id,
                self.template_id,
                name,
                job_id,
                archive,
                self.ada,
                now,
            )
            await connection.execute(
                "INSERT INTO jobs (id, organization_id, kind, provisioner_type,"
                " template_version_id, initiator_id, is_system, status, created_at, pending_since,"
                " finished_at) VALUES ($1, $2, 'template_version_import', 'process', $3, $4, false,"
                " 'succeeded', $5, $5, $5)",
                job_id,
                DEFAULT_ORGANIZATION_ID,
                version_id,
                self.ada,
                now,
            )

    async def add_preset(
        self,
        preset_id: UUID,
        name: str,
        instances: int | None,
        connection: Connection,
        *,
        version_id: UUID | None = None,
        ttl_seconds: int = 0,
    ) -> None:
        """Adds a preset to a version."""
        await connection.execute(
            "INSERT INTO presets (id, template_version_id, name, instances, ttl_seconds)"
            " VALUES ($1, $2, $3, $4, $5)",
            preset_id,
            version_id or self.version_id,
            name,
            instances,
            ttl_seconds,
        )

    async def promote(self, version_id: UUID, connection: Connection) -> None:
        """Makes a version the active one."""
        await connection.execute(
            "UPDATE templates SET active_version_id = $2 WHERE id = $1",
            self.template_id,
            version_id,
        )

    async def create_prebuild(self) -> UUID:
        """Queues a member of the pool."""
        ids = new_ids()
        name = prebuild_name(ids.workspace_id)
        queued = await self.pools.create_prebuild(self.preset_id, ids, name, self.clock.now())
        assert queued is not None
        return ids.workspace_id

    async def acquire(self) -> AcquiredJob:
        """The worker takes the next job, which there must be."""
        job = await self.queue.acquire(self.worker, self.clock.now())
        assert job is not None
        return job

    async def complete(self, job: AcquiredJob, *, token: str | None = None) -> Aftermath | None:
        """The worker ends a build well; the workspace has one agent, whose token is its own id."""
        assert job.build is not None
        workspace_id = job.build.workspace_id
        agent = BuiltAgent(
            id=UUID(int=workspace_id.int ^ 1),
            name="main",
            token_hash=token_hash(workspace_id, token),
            manifest={"directory": "", "env": {}, "scripts": [], "apps": []},
        )
        return await self.ends.complete_build(
            job.id, job.attempt, None, BuiltWorkspace(agents=(agent,)), (), self.clock.now()
        )

    async def fail(self, job: AcquiredJob, *, retryable: bool = False) -> Aftermath | None:
        """The worker gives a job up."""
        return await self.ends.fail(
            job.id,
            job.attempt,
            None,
            error="it broke",
            reason="PROVISIONER",
            is_retryable=retryable,
            lines=(),
            now=self.clock.now(),
        )

    async def make_ready(self, workspace_id: UUID) -> None:
        """The workspace's agent is connected and ready."""
        now = self.clock.now()
        token = token_hash(workspace_id)
        await self.agents.record_liveness([token], [], now)
        await self.agents.record_lifecycle(token, "ready", now, "", now)

    async def ready_prebuild(self) -> UUID:
        """A member that can be claimed."""
        workspace_id = await self.create_prebuild()
        await self.complete(await self.acquire())
        await self.make_ready(workspace_id)
        return workspace_id

    def wanted(self, *, name: str | None = None, request_id: str | None = None) -> Wanted:
        """What ada asks for."""
        return Wanted(
            organization_id=DEFAULT_ORGANIZATION_ID,
            template_id=self.template_id,
            version_id=self.version_id,
            preset_id=self.preset_id,
            owner_id=self.ada,
            initiator_id=self.ada,
            name=name or f"dev-{next(self._names)}",
            parameters={},
            request_id=request_id,
            requested_at=self.clock.now(),
            traceparent="",
        )

    async def claim(self) -> UUID | None:
        """Ada claims; the workspace, or None."""
        claimed = await self.maker.claim(self.wanted(), new_ids(), self.clock.now())
        return None if claimed is None else claimed.view.id

    async def own_workspace(self) -> UUID:
        """A workspace of ada's that was claimed and runs."""
        await self.ready_prebuild()
        workspace_id = await self.claim()
        assert workspace_id is not None
        await self.complete(await self.acquire())
        return workspace_id

    async def set_policy(self, **changes: Any) -> None:
        """Sets fields of the template's policy; the others are as if nobody had set them."""
        (template,) = await self.templates.list(None, "dev")
        await self.lifecycles.set_policy(
            template,
            TemplatePolicy(**changes),
            Actor(user_id=self.ada, audit_id=uuid4()),
            self.clock.now(),
        )

    async def record(self, token: bytes, claim_id: UUID, step: str) -> bool:
        """An agent's step with a claim; whether it was the agent's."""
        record = ReinitStep(
            token_hash=token, claim_id=claim_id, step=step, at=self.clock.now(), error=""
        )
        (accepted,), _ = await self.agents.record_reinits([record])
        return accepted

    async def owner_of(self, workspace_id: UUID) -> UUID:
        """Who owns a workspace now."""
        return (await self.workspaces.get(workspace_id, self.clock.now())).owner_id

    async def is_in_pool(self, workspace_id: UUID) -> bool:
        """Whether the pool owns a workspace."""
        return await self.owner_of(workspace_id) == SYSTEM_USER_ID

    async def fetch(self, query: str, *arguments: object) -> list[dict[str, object]]:
        """Rows, for looking behind the curtain."""
        async with self.database.read() as connection:
            return [dict(row) for row in await connection.fetch(query, *arguments)]

    async def execute(self, statement: str, *arguments: object) -> None:
        """Changes rows behind the curtain."""
        async with self.database.read() as connection:
            await connection.execute(statement, *arguments)


def token_hash(workspace_id: UUID, token: str | None = None) -> bytes:
    """The hash of a workspace's agent's token."""
    return hashlib.sha256(token_of(workspace_id, token).encode()).digest()


def token_of(workspace_id: UUID, token: str | None = None) -> str:
    """A workspace's agent's token."""
    return json.dumps([str(workspace_id), token], separators=(",", ":"))
