"""The job queue's rows: acquire, renew, log, release. Ends of jobs are in `builds`, tfstate is in
`tfstates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from reconciler.core.builds import LogLine
from reconciler.core.jobs import (
    AcquiredJob,
    BuildOfJob,
    JobKind,
    JobStatus,
    Silence,
    rehearse_claim,
)
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from svckit.errors import Aborted, FailedPrecondition, NotFound, Unauthenticated

__all__ = [
    "Acquired",
    "JobQueue",
    "SilentJob",
    "Worker",
    "cut_lines",
    "expect_kind",
    "hold_attempt",
    "insert_lines",
    "must_be_live",
    "refuse_attempt",
]

SQL = load_queries("jobs")

OTHERS_MAX = 256
LOG_BYTES_MAX = 4 * 1024 * 1024  # of one job: a day of a talkative apply, a page of a database
LOG_TEXT_BYTES_MAX = 8 * 1024
TRUNCATED = "The log is full; what follows is not kept."


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A provisioner on an acquire stream. `organization_id` None may take any organization's
    jobs.
    """

    id: UUID
    name: str
    version: str
    provisioner_types: tuple[str, ...]
    tags: dict[str, str]
    key_id: UUID
    organization_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """Jobs that are a worker's now, in their order. `others`: how many more were there for the same
    worker, counted up to `OTHERS_MAX`.
    """

    jobs: tuple[AcquiredJob, ...]
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentJob:
    """A job nobody hears of. `heartbeat_at` is when its attempt spoke last; None if never."""

    id: UUID
    status: JobStatus
    attempt: int
    heartbeat_at: datetime | None
    silence: Silence


async def hold_attempt(
    connection: Connection, job_id: UUID, attempt: int, organization_id: UUID | None
) -> asyncpg.Record | None:
    """Locks the live attempt; None if this very attempt has ended already. Raises Aborted or
    NotFound.
    """
    record = await connection.fetchrow(SQL.lock_attempt, job_id, attempt, organization_id)
    if record is None:
        await refuse_attempt(connection, job_id, attempt, organization_id)
    return record


async def refuse_attempt(
    connection: Connection, job_id: UUID, attempt: int, organization_id: UUID | None
) -> None:
    """Raises the reason why an attempt is not live; returns if it has ended and not been
    superseded.
    """
    found = await connection.fetchrow(SQL.find_attempt, job_id, organization_id)
    if found is None:
        raise NotFound(f"there is no job {job_id}", reason="JOB_UNKNOWN", field="ref.job_id")
    if found["attempt"] != attempt or not JobStatus(found["status"]).is_final:
        raise Aborted(
            f"attempt {attempt} of job {job_id} has been superseded", reason="ATTEMPT_SUPERSEDED"
        )


def expect_kind(job: asyncpg.Record, kind: JobKind) -> None:
    """Raises FailedPrecondition if the job is of another kind than its result."""
    if job["kind"] != kind.value:
        raise FailedPrecondition(
            f"job {job['id']} is a {job['kind']}, not a {kind.value}", reason="WRONG_RESULT"
        )


def cut_lines(lines: Sequence[LogLine], log_bytes: int) -> tuple[list[LogLine], int]:
    """What of these lines is stored in a log that has so many bytes, and how many more they are: up
    to the log's size; then one line says that it is full.
    """
    kept: list[LogLine] = []
    size = log_bytes
    for line in lines:
        if size > LOG_BYTES_MAX:
            break
        text = line.text.encode()[:LOG_TEXT_BYTES_MAX].decode(errors="ignore").replace("\0", "")
        size += len(text)
        full = size > LOG_BYTES_MAX
        kept.append(
            LogLine(
                sequence=line.sequence,
                written_at=line.written_at,
                level="warn" if full else line.level,
                stage=line.stage,
                text=TRUNCATED if full else text,
            )
        )
    return kept, size - log_bytes


async def insert_lines(
    connection: Connection, job_id: UUID, attempt: int, lines: Sequence[LogLine], log_bytes: int
) -> None:
    """Stores lines in a log that has so many bytes."""
    kept, size = cut_lines(lines, log_bytes)
    if kept:
        await connection.execute(
            SQL.insert_log_lines,
            job_id,
            attempt,
            [line.sequence for line in kept],
            [line.written_at for line in kept],
            [line.level for line in kept],
            [line.stage for line in kept],
            [line.text for line in kept],
            size,
        )


class JobQueue:
    """The queue as workers and watchers use it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, worker: Worker, now: datetime) -> None:
        """Notes a provisioner, or that it is still there. Raises Unauthenticated if its key was
        revoked.
        """
        async with self._database.read() as connection:
            noted = await connection.fetchval(
                SQL.upsert_worker,
                worker.id,
                worker.name,
                worker.version,
                list(worker.provisioner_types),
                worker.tags,
                worker.key_id,
                now,
            )
        if noted is None:
            raise Unauthenticated("the key is refused: it was revoked", reason="TOKEN_REFUSED")

    async def acquire(self, worker: Worker, now: datetime) -> AcquiredJob | None:
        """The next job the worker may run, now its own; None if there is none."""
        acquired = await self.acquire_many(worker, 1, now)
        return next(iter(acquired.jobs), None)

    async def acquire_many(self, worker: Worker, count: int, now: datetime) -> Acquired:
        """The next jobs the worker may run, at most so many, now its own."""
        async with self._database.read() as connection:  # one statement, so no transaction
            rows = await connection.fetch(
                SQL.acquire_jobs,
                worker.id,
                list(worker.provisioner_types),
                worker.tags,
                worker.organization_id,
                now,
                worker.key_id,
                count,
                OTHERS_MAX,
            )
        return Acquired(jobs=tuple(map(_read_job, rows)), others=rows[0]["others"] if rows else 0)

    async def heartbeat(
        self,
        job_id: UUID,
        attempt: int,
        organization_id: UUID | None,
        lines: Sequence[LogLine],
        now: datetime,
    ) -> datetime | None:
        """Keeps an attempt alive, stores its lines; returns since when it is asked to stop, if it
        is.
        """

        async def work(connection: Connection) -> datetime | None:
            job = await connection.fetchrow(SQL.renew_job, job_id, attempt, organization_id, now)
            if job is None:
                await refuse_attempt(connection, job_id, attempt, organization_id)
                raise Aborted(f"job {job_id} has ended", reason="JOB_ENDED")
            await insert_lines(connection, job_id, attempt, lines, job["log_bytes"])
            return job["cancel_requested_at"] if job["status"] == "canceling" else None

        run = self._database.transact if lines else self._database.change
        return await run(work)

    async def read_archive(self, job_id: UUID, attempt: int, organization_id: UUID | None) -> bytes:
        """The files of the job's template version, as a gzipped tar."""
        async with self._database.read() as connection:
            await must_be_live(connection, job_id, attempt, organization_id)
            return await connection.fetchval(SQL.get_archive, job_id)

    async def list_lines(self, job_id: UUID, after: int, limit: int) -> tuple[LogLine, ...]:
        """A page of a job's log."""
        async with self._database.read() as connection:
            records = await connection.fetch(SQL.list_log_lines, job_id, after, limit)
        return tuple(
            LogLine(
                sequence=r["position"],
                written_at=r["written_at"],
                level=r["level"],
                stage=r["stage"],
                text=r["text"],
            )
            for r in records
        )

    async def list_silent(
        self,
        now: datetime,
        *,
        unconfirmed: timedelta,
        hung: timedelta,
        stale: timedelta,
        limit: int,
    ) -> tuple[SilentJob, ...]:
        """Jobs nobody hears of, oldest first."""
        async with self._database.read() as connection:
            records = await connection.fetch(
                SQL.list_silent_jobs, now - unconfirmed, now - hung, now - stale, limit
            )
        return tuple(
            SilentJob(
                id=r["id"],
                status=JobStatus(r["status"]),
                attempt=r["attempt"],
                heartbeat_at=r["heartbeat_at"],
                silence=Silence(r["silence"]),
            )
            for r in records
        )

    async def forget_workers(self, last_seen_before: datetime) -> None:
        """Removes provisioners that have been gone for long."""
        async with self._database.read() as connection:
            await connection.execute(SQL.delete_old_workers, last_seen_before)


async def must_be_live(
    connection: Connection, job_id: UUID, attempt: int, organization_id: UUID | None
) -> None:
    """Raises Aborted or NotFound unless this is the live attempt of a job that runs."""
    found = await connection.fetchrow(SQL.find_attempt, job_id, organization_id)
    if found is None or found["attempt"] != attempt or JobStatus(found["status"]).is_final:
        await refuse_attempt(connection, job_id, attempt, organization_id)
        raise Aborted(f"job {job_id} has ended", reason="JOB_ENDED")


def _read_job(job: asyncpg.Record) -> AcquiredJob:
    return AcquiredJob(
        id=job["id"],
        attempt=job["attempt"],
        kind=JobKind(job["kind"]),
        provisioner_type=job["provisioner_type"],
        traceparent=job["traceparent"],
        template_version_id=job["template_version_id"],
        archive_sha256=job["archive_sha256"],
        template_name=job["template_name"],
        version_name=job["version_name"],
        parameters=job["parameters"],
        workspace_id=job["workspace_id"],
        build=None if job["build_id"] is None else _read_build_of(job),
    )


def _read_build_of(job: asyncpg.Record) -> BuildOfJob:
    build = BuildOfJob(
        build_id=job["build_id"],
        workspace_id=job["build_workspace_id"],
        workspace_name=job["workspace_name"],
        transition=job["transition"],
        stage=job["stage"],
        parameters=job["build_parameters"],
        previous_parameters=job["previous_parameters"] or {},
        owner_id=job["owner_id"],
        username=job["username"],
        full_name=job["full_name"],
        email=job["email"],
        template_id=job["template_id"],
        template_name=job["template_name"],
        version_name=job["version_name"],
        organization_name=job["organization_name"],
    )
    return rehearse_claim(build) if job["rehearsed_build_id"] else build
