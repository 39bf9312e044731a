"""What gateways ask and report about agents, in batches. Agents are named by the hash of their
token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from reconciler.core.builds import LogLine
from reconciler.core.claims import AgentFacts, Verdict, decide_verdict
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.store.cipher import StateCipher
from reconciler.store.db import Connection, Database
from reconciler.store.jobs import LOG_TEXT_BYTES_MAX
from reconciler.store.manifests import open_manifest
from reconciler.store.queries import load_queries
from svckit.errors import Unauthenticated

__all__ = ["Agents", "AppliedClaim", "Check", "Manifest", "ReinitStep"]

SQL = load_queries("gateway")
LOG_LINE_BYTES_MIN = 64  # what a row takes, however short its text
AGENT_LOG_BYTES_MAX = 1024 * 1024  # per agent: start scripts talk, they do not stream
REPORTS_NOTED_PER_TIMEOUT = 12  # often enough to tell a gap, seldom enough to cost nothing
REASON = "prebuild_claimed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one agent's stream should do, and with what."""

    verdict: Verdict
    agent_id: UUID | None = None
    workspace_id: UUID | None = None
    claim_id: UUID | None = None
    claimant_id: UUID | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinitStep:
    """One step of a claim at an agent: delivered, applying, applied or failed; `at` is when."""

    token_hash: bytes
    claim_id: UUID
    step: str
    at: datetime
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedClaim:
    """A claim that moved on. `applied_at` is set once every agent runs under its owner."""

    workspace_id: UUID
    claimed_at: datetime
    applied_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an agent runs, and for whom. `content` is what its build stored."""

    agent_id: UUID
    agent_name: str
    workspace_id: UUID
    workspace_name: str
    owner_id: UUID
    owner_name: str
    is_prebuild: bool
    claim_id: UUID | None
    content: dict[str, Any]


class Agents:
    """The durable side of every agent."""

    def __init__(
        self, database: Database, cipher: StateCipher, *, agent_timeout: timedelta
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._agent_timeout = agent_timeout

    async def check(self, token_hashes: Sequence[bytes]) -> tuple[Check, ...]:
        """One answer per hash, in order, from one query."""
        async with self._database.read() as connection:
            records = await connection.fetch(SQL.check_agents, list(token_hashes))
        found = {r["position"]: r for r in records}
        return tuple(_read_check(found.get(i)) for i in range(1, len(token_hashes) + 1))

    async def record_reinits(
        self, steps: Sequence[ReinitStep]
    ) -> tuple[list[bool], tuple[AppliedClaim, ...]]:
        """Records steps, in one statement; says of each whether the claim is that agent's, and
        which claims moved on.

        A claim of several agents moves on in a transaction after that: whoever is the last to
        commit a step of it sees the steps of all. Repeating everything is harmless.
        """

        async def record(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(
                SQL.record_reinits,
                [step.token_hash for step in steps],
                [step.claim_id for step in steps],
                [step.step for step in steps],
                [step.error for step in steps],
                [step.at for step in steps],
            )

        rows = await self._database.change(record)
        known = {row["position"] for row in rows}
        moved = {row["claim_id"]: row for row in rows if row["workspace_id"] is not None}
        shared = sorted({row["claim_id"] for row in rows if row["has_others"]})

        async def close(connection: Connection) -> list[asyncpg.Record]:
            await connection.fetch(SQL.lock_claims, shared)
            return await connection.fetch(SQL.close_claims, shared)

        closed = await self._database.transact(close) if shared else []
        accepted = [position in known for position in range(1, len(steps) + 1)]
        return accepted, tuple(
            AppliedClaim(
                workspace_id=r["workspace_id"],
                claimed_at=r["claimed_at"],
                applied_at=r["applied_at"],
            )
            for r in (*moved.values(), *closed)
        )

    async def get_manifest(self, token_hash: bytes) -> Manifest:
        """What an agent runs now; raises Unauthenticated for a token no agent has,
        FailedPrecondition if it cannot be decrypted.
        """
        async with self._database.read() as connection:
            r = await connection.fetchrow(SQL.get_manifest, token_hash)
        if r is None:
            raise _unknown_token()
        return Manifest(
            agent_id=r["agent_id"],
            agent_name=r["agent_name"],
            workspace_id=r["workspace_id"],
            workspace_name=r["workspace_name"],
            owner_id=r["owner_id"],
            owner_name=r["owner_name"],
            is_prebuild=r["is_system"],
            claim_id=r["claim_id"] if r["built_at"] is not None else None,
            content=open_manifest(self._cipher, r["agent_id"], r["manifest"], r["manifest_sealed"]),
        )

    async def record_lifecycle(
        self, token_hash: bytes, lifecycle: str, changed_at: datetime, error: str, now: datetime
    ) -> UUID | None:
        """Notes what an agent says of itself; returns its workspace, None if a newer word is
        known.
        """

        async with self._database.read() as connection:
            workspace_id: UUID | None = await connection.fetchval(
                SQL.record_lifecycle, token_hash, lifecycle, min(changed_at, now), error, now
            )
            if (
                workspace_id is None
                and await connection.fetchrow(SQL.find_agent, token_hash) is None
            ):
                raise _unknown_token()
        return workspace_id

    async def record_liveness(
        self,
        connected: Sequence[bytes],
        disconnected: Sequence[bytes],
        now: datetime,
        *,
        gateway_id: UUID | None = None,
        arrived: Sequence[bytes] = (),
    ) -> tuple[UUID, ...]:
        """Notes who is there and who has gone; returns the workspaces for which that is news. A
        report that names nobody still says that a gateway is there. `arrived` are those of the
        connected that the gateway heard themselves: it holds them from then on. A gateway of the
        release before says neither.
        """

        async def work(connection: Connection) -> tuple[UUID, ...]:
            news: set[UUID] = set()
            if disconnected:
                rows = await connection.fetch(
                    SQL.record_disconnected, list(disconnected), now, gateway_id
                )
                news |= {r["workspace_id"] for r in rows}
            if connected:
                rows = await connection.fetch(
                    SQL.record_connected,
                    list(connected),
                    now,
                    now - self._agent_timeout,
                    gateway_id,
                    list(arrived),
                )
                news |= {r["workspace_id"] for r in rows}
            return tuple(sorted(news))

        async with self._database.read() as connection:
            await connection.execute(
                SQL.note_report,
                now,
                now - self._agent_timeout,
                now - self._agent_timeout / REPORTS_NOTED_PER_TIMEOUT,
            )
        return await self._database.transact(work)

    async def insert_logs(
        self, token_hash: bytes, lines: Sequence[LogLine], session_id: UUID | None
    ) -> bool:
        """Stores lines of an agent; returns True once its log is full and they are dropped. Those
        that this run of it has sent before are not stored again.
        """
        async with self._database.read() as connection:
            agent = await connection.fetchrow(SQL.find_agent, token_hash)
            if agent is None:
                raise _unknown_token()
            if agent["log_bytes"] > AGENT_LOG_BYTES_MAX:
                return True
            if not lines:
                return False
            texts = [
                line.text.encode()[:LOG_TEXT_BYTES_MAX].decode(errors="ignore").replace("\0", "")
                for line in lines
            ]
            await connection.execute(
                SQL.insert_agent_logs,
                agent["id"],
                [line.written_at for line in lines],
                [line.level for line in lines],
                [line.stage for line in lines],
                texts,
                [max(len(text), LOG_LINE_BYTES_MIN) for text in texts],
                session_id,
                [line.sequence for line in lines],
            )
        return False

    async def pools_of(self, workspace_ids: Sequence[UUID]) -> tuple[UUID, ...]:
        """The presets of those workspaces that are still in a pool."""
        async with self._database.read() as connection:
            rows = await connection.fetch(
                SQL.list_pools_of_workspaces, list(workspace_ids), SYSTEM_USER_ID
            )
        return tuple(r["preset_id"] for r in rows)


def _read_check(r: asyncpg.Record | None) -> Check:
    if r is None:
        return Check(verdict=decide_verdict(None))
    verdict = decide_verdict(
        AgentFacts(
            born_in_pool=r["born_in_pool"],
            is_claimed=r["claim_id"] is not None,
            is_built=r["built_at"] is not None,
            is_build_running=r["latest_job_status"] in ("pending", "running", "canceling"),
            is_acknowledged=bool(r["is_acknowledged"]),
        )
    )
    return Check(
        verdict=verdict,
        agent_id=r["agent_id"],
        workspace_id=r["workspace_id"],
        claim_id=r["claim_id"],
        claimant_id=r["claimant_id"] if verdict is Verdict.DELIVERABLE else None,
        error=r["claim_error"] if verdict is Verdict.CLAIM_BUILD_FAILED else "",
    )


def _unknown_token() -> Unauthenticated:
    return Unauthenticated("no agent has this token", reason="AGENT_UNKNOWN")
