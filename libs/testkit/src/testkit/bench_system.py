"""What the reconciler is measured on: durable Postgres, NATS, real processes, rows put in directly.

The rows are what the pool, its workers and its agents would have left: prebuilds whose first build
succeeded, each with an agent that is ready.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg

from embedded import EmbeddedNats, EmbeddedPostgres, Supervisor
from reconciler.core.identity import DEFAULT_ORGANIZATION_ID, SYSTEM_USER_ID
from reconciler.store.db import Connection
from svckit.auth import hash_token

__all__ = ["BenchSystem", "bench_system", "seed_pool", "seed_template", "seed_users"]

AGENT_TIMEOUT_SECONDS = 3600  # nobody renews the agents' signs of life here
PROVISIONER_KEY = "the provisioners' key"
GATEWAY_KEY = "the gateways' key"


@dataclass(frozen=True, slots=True)
class BenchSystem:
    """A reconciler that serves, and what it stands on."""

    supervisor: Supervisor
    directory: Path
    database_url: str
    nats_url: str
    address: str

    @property
    def reconciler_pid(self) -> int:
        """The reconciler's process id."""
        pid = self.supervisor.pid_of("reconciler")
        assert pid is not None
        return pid

    async def start_gateway(self) -> str:
        """Starts a gateway; its address."""
        port_file = self.directory / "agentgw.port"
        port = await self.supervisor.start_service(
            "agentgw",
            "agentgw",
            {
                "WARMPOOL_AGENTGW_PORT_FILE": str(port_file),
                "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": self.address,
                "WARMPOOL_AGENTGW_KEY_FILE": str(self.directory.parent / "gateway-key"),
                "WARMPOOL_AGENTGW_NATS_URL": self.nats_url,
            },
            port_file=port_file,
        )
        return f"127.0.0.1:{port}"

    async def start_echo(self, response_bytes: int) -> str:
        """Starts the floor in a process of its own; its address."""
        port_file = self.directory / "echo.port"
        port = await self.supervisor.start_service(
            "echo",
            "testkit.bench_echo",
            {},
            port_file=port_file,
            arguments=(str(port_file), str(response_bytes)),
        )
        return f"127.0.0.1:{port}"

    async def start_chain(self) -> tuple[str, str]:
        """Starts the floor of a claim, two processes: where its control plane and its gate are."""
        control = await self._start_chain("control", self.database_url)
        return control, await self._start_chain("gate", control)

    async def _start_chain(self, role: str, behind: str) -> str:
        port_file = self.directory / f"chain-{role}.port"
        port = await self.supervisor.start_service(
            f"chain-{role}",
            "testkit.bench_chain",
            {},
            port_file=port_file,
            arguments=(role, str(port_file), behind, self.nats_url),
        )
        return f"127.0.0.1:{port}"

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[asyncpg.Connection[asyncpg.Record]]:
        """A connection to the reconciler's database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def bench_system(directory: Path) -> AsyncGenerator[BenchSystem]:
    """Starts everything; fsync is on, as in production."""
    postgres, nats = EmbeddedPostgres(directory / "pg"), EmbeddedNats(directory / "nats")
    (directory / "key").write_text(PROVISIONER_KEY)
    (directory / "gateway-key").write_text(GATEWAY_KEY)
    (directory / "state-key").write_text("s" * 43)
    await postgres.start()
    try:
        await nats.start()
        try:
            async with Supervisor(directory / "run") as supervisor:
                port_file = directory / "run" / "reconciler.port"
                port = await supervisor.start_service(
                    "reconciler",
                    "reconciler",
                    {
                        "WARMPOOL_RECONCILER_PORT_FILE": str(port_file),
                        "WARMPOOL_RECONCILER_DATABASE_URL": postgres.url,
                        "WARMPOOL_RECONCILER_NATS_URL": nats.url,
                        "WARMPOOL_RECONCILER_STATE_KEY_FILE": str(directory / "state-key"),
                        "WARMPOOL_RECONCILER_AGENT_TIMEOUT_SECONDS": str(AGENT_TIMEOUT_SECONDS),
                        "WARMPOOL_RECONCILER_BOOTSTRAP_GATEWAY_KEY_FILE": str(
                            directory / "gateway-key"
                        ),
                        "WARMPOOL_RECONCILER_BOOTSTRAP_PROVISIONER_KEY_FILE": str(
                            directory / "key"
                        ),
                    },
                    port_file=port_file,
                )
                yield BenchSystem(
                    supervisor, directory / "run", postgres.url, nats.url, f"127.0.0.1:{port}"
                )
        finally:
            await nats.stop()
    finally:
        await postgres.stop()


async def seed_users(connection: Connection, count: int) -> list[str]:
    """Members of the default organization with a token each; the tokens."""
    tokens = [f"token-{uuid4()}" for _ in range(count)]
    for token in tokens:
        user_id = uuid4()
        await connection.execute(
            "INSERT INTO users (id, username, created_at) VALUES ($1, $2, now())",
            user_id,
            f"u-{user_id.hex[:12]}",
        )
        await connection.execute(
            "INSERT INTO organization_members (organization_id, user_id, created_at)"
            " VALUES ($1, $2, now())",
            DEFAULT_ORGANIZATION_ID,
            user_id,
        )
        await connection.execute(
            "INSERT INTO api_tokens (id, user_id, name, token_hash, created_at)"
            " VALUES ($1, $2, 'bench', $3, now())",
            uuid4(),
            user_id,
            hash_token(token),
        )
    return tokens


async def seed_template(connection: Connection, name: str) -> UUID:
    """A template of type "process" with one imported, active version; the version."""
    template_id, version_id, job_id = uuid4(), uuid4(), uuid4()
    archive = hashlib.sha256(b"").digest()
    parameters = (
        '[{"name": "region", "type": "string", "default_value": "here", "has_default": true,'
        ' "mutable": true, "ephemeral": false, "options": [], "validation_regex": "",'
        ' "validation_error": "", "validation_min": null, "validation_max": null,'
        ' "validation_monotonic": ""}]'
    )
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO archives VALUES ($1, '', now()) ON CONFLICT DO NOTHING", archive
        )
        await connection.execute(
            "INSERT INTO templates (id, organization_id, name, provisioner_type, created_at)"
            " VALUES ($1, $2, $3, 'process', now())",
            template_id,
            DEFAULT_ORGANIZATION_ID,
            name,
        )
        await connection.execute(
            "INSERT INTO template_versions (id, template_id, name, job_id, archive_sha256,"
            " promote_on_success, parameters, created_by, created_at, imported_at)"
            " VALUES ($1, $2, 'v1', $3, $4, false, $5, $6, now(), now())",
            version_id,
            template_id,
            job_id,
            archive,
            parameters,
            SYSTEM_USER_ID,
        )
        await connection.execute(
            "INSERT INTO jobs (id, organization_id, kind, provisioner_type, template_version_id,"
            " initiator_id, is_system, status, created_at, pending_since, finished_at)"
            " VALUES ($1, $2, 'template_version_import', 'process', $3, $4, false, 'succeeded',"
            " now(), now(), now())",
            job_id,
            DEFAULT_ORGANIZATION_ID,
            version_id,
            SYSTEM_USER_ID,
        )
        await connection.execute(
            "UPDATE templates SET active_version_id = $2 WHERE id = $1", template_id, version_id
        )
    return version_id


async def seed_pool(connection: Connection, version_id: UUID, name: str, size: int) -> UUID:
    """A preset of the version, and a full pool of that size; the preset."""
    preset_id = uuid4()
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO presets (id, template_version_id, name, parameters, instances)"
            """ VALUES ($1, $2, $3, '{"region": "there"}', $4)""",
            preset_id,
            version_id,
            name,
            size,
        )
        await connection.execute(_PREBUILDS, preset_id, size)
        await connection.execute("ANALYZE")
    return preset_id


_PREBUILDS = """
WITH made AS MATERIALIZED (
    SELECT gen_random_uuid() AS workspace_id, gen_random_uuid() AS build_id,
           gen_random_uuid() AS job_id, gen_random_uuid() AS agent_id,
           now() - make_interval(secs => 3600) + make_interval(secs => n * 0.001) AS at
    FROM generate_series(1, {size}) AS n
), preset AS (
    SELECT p.id, v.id AS version_id, t.id AS template_id, t.organization_id, u.id AS owner_id
    FROM presets p JOIN template_versions v ON v.id = p.template_version_id
    JOIN templates t ON t.id = v.template_id, users u WHERE p.id = {preset} AND u.is_system
), jobs_made AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, template_version_id,
                      initiator_id, is_system, status, created_at, pending_since, finished_at)
    SELECT job_id, organization_id, 'workspace_build', 'process', version_id, owner_id, true,
           'succeeded', at, at, at
    FROM made, preset
), workspaces_made AS (
    INSERT INTO workspaces (id, organization_id, owner_id, name, template_id, preset_id,
                            born_in_pool, created_at, latest_build_id, latest_build_number,
                            latest_transition, latest_job_id, latest_job_status,
                            latest_template_version_id, latest_build_created_at,
                            latest_build_finished_at)
    SELECT workspace_id, organization_id, owner_id,
           'prebuild-' || left(replace(workspace_id::text, '-', ''), 20), template_id, id, true, at,
           build_id, 1, 'start', job_id, 'succeeded', version_id, at, at
    FROM made, preset
), builds_made AS (
    INSERT INTO workspace_builds (id, workspace_id, number, transition, stage, job_id,
                                  template_version_id, initiator_id, reason, parameters,
                                  created_at, finished_at)
    SELECT build_id, workspace_id, 1, 'start', 'create', job_id, version_id, owner_id, 'prebuild',
           '{{"region": "there"}}', at, at
    FROM made, preset
)
INSERT INTO agents (id, workspace_id, name, token_hash, lifecycle, first_ready_at, last_seen_at,
                    manifest, created_at)
SELECT agent_id, workspace_id, 'main', sha256(agent_id::text::bytea), 'ready', at, now(), '{{}}', at
FROM made
""".format(size="$2", preset="$1")
