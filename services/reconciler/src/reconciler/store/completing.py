"""How a build ends well: what it depends on is read, and then everything changes in one statement.

Promises: what was decided by what was read is written only if the workspace is still as it was
read, and the attempt still live; otherwise all of it begins anew. A claim becomes deliverable in
the very statement that ends its build, with the outbox row that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from bus.events import PrebuildClaimed, encode_event
from bus.subjects import claims_subject
from reconciler.core.aftermath import Aftermath
from reconciler.core.builds import BuiltWorkspace, LogLine
from reconciler.core.hints import Promise
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.jobs import JobEvent, JobKind, JobStatus, next_status
from reconciler.core.lifecycle import Deadlines, begin_run
from reconciler.store.cipher import StateCipher
from reconciler.store.db import Connection
from reconciler.store.jobs import cut_lines, expect_kind, refuse_attempt
from reconciler.store.manifests import seal_manifest
from reconciler.store.queries import load_queries
from reconciler.store.settling import tell_of_replacements
from reconciler.store.template_rows import read_policy
from svckit.errors import FailedPrecondition, NotFound, Unavailable

__all__ = ["complete_build"]

SQL = load_queries("builds")
TRIES_MAX = 10  # what changes a workspace while its build ends happens once, if at all


async def complete_build(
    connection: Connection,
    cipher: StateCipher,
    job_id: UUID,
    attempt: int,
    organization_id: UUID | None,
    built: BuiltWorkspace,
    lines: Sequence[LogLine],
    now: datetime,
) -> Aftermath | None:
    """Records a build that succeeded; None if that is known already. Needs a transaction if the
    build replaced resources, for then it tells of that, too.
    """
    for _ in range(TRIES_MAX):
        row = await _find(connection, job_id, attempt, organization_id)
        if row is None:
            return None
        status = next_status(JobStatus(row["status"]), JobEvent.SUCCEEDED)
        is_start = row["transition"] == "start"
        agents = {agent.id: agent for agent in built.agents} if is_start else {}
        run = _begin_run(row, now)
        subject, payload = _encode_claim(row)
        kept, size = cut_lines(lines, row["log_bytes"])
        try:
            end = await connection.fetchrow(
                SQL.complete_build,
                job_id,
                attempt,
                organization_id,
                row["workspace_version"],
                status.value,
                now,
                list(built.resources),
                list(agents),
                [agent.name for agent in agents.values()],
                [agent.token_hash for agent in agents.values()],
                [agent.manifest for agent in agents.values()],
                [seal_manifest(cipher, agent.id, agent.manifest) for agent in agents.values()],
                run is not None,
                None if run is None else run.deadline_at,
                None if run is None else run.max_deadline_at,
                row["claim_id"],
                bool(built.replacements),
                subject,
                payload,
                [line.sequence for line in kept],
                [line.written_at for line in kept],
                [line.level for line in kept],
                [line.stage for line in kept],
                [line.text for line in kept],
                size,
                SYSTEM_USER_ID,
            )
        except asyncpg.NotNullViolationError as error:
            if (error.table_name, error.column_name) != ("agents", "name"):
                raise
            raise FailedPrecondition(
                f"an agent of {', '.join(map(str, agents))} belongs to another workspace",
                reason="AGENT_ID_TAKEN",
            ) from error
        if end is None:
            continue
        promise = end["outbox_id"]
        if promise is not None and built.replacements:
            await tell_of_replacements(connection, row, built.replacements, now)
        return Aftermath(
            job_id=job_id,
            status=status,
            organization_id=row["organization_id"],
            workspace_id=row["workspace_id"],
            preset_ids=(row["preset_id"],) if row["born_in_pool"] and row["preset_id"] else (),
            requeued=row["provisioner_type"] if end["has_rehearsal"] else "",
            promise=None if promise is None else Promise(promise, subject, payload),
        )
    raise Unavailable(f"the workspace of job {job_id} does not stay as it is; repeat the call")


async def _find(
    connection: Connection, job_id: UUID, attempt: int, organization_id: UUID | None
) -> asyncpg.Record | None:
    """What the end of the live attempt depends on; None if this very attempt has ended already.
    Raises Aborted or NotFound.
    """
    row = await connection.fetchrow(SQL.get_completion, job_id, attempt, organization_id)
    if row is None:
        await refuse_attempt(connection, job_id, attempt, organization_id)
        return None
    expect_kind(row, JobKind.BUILD)
    if row["build_id"] is None:
        raise NotFound(f"job {job_id} has no build", reason="BUILD_UNKNOWN")
    return row


def _begin_run(row: asyncpg.Record, now: datetime) -> Deadlines | None:
    """The deadlines of the run that this start begins; None for a prebuild and without a start."""
    if (
        row["transition"] != "start"
        or row["owner_id"] == SYSTEM_USER_ID
        or row["deleted_at"] is not None
    ):
        return None
    before = Deadlines(deadline_at=row["deadline_at"], max_deadline_at=row["max_deadline_at"])
    return begin_run(read_policy(row), row["ttl_seconds"], before, now)


def _encode_claim(row: asyncpg.Record) -> tuple[str, bytes]:
    """What is said of a claim that is built: subject and payload; nothing if there is none."""
    if row["claim_id"] is None:
        return "", b""
    event = PrebuildClaimed(
        workspace_id=str(row["workspace_id"]),
        owner_id=str(row["claimant_id"]),
        reason="prebuild_claimed",
        claim_id=str(row["claim_id"]),
    )
    return claims_subject(event.workspace_id), encode_event(event)
