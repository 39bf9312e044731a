"""How jobs end: a build's result, a failure, a cancellation, a worker that fell silent. Each in one
transaction.

Promises: the end of an attempt is recorded once, and repeating it is harmless; a superseded attempt
is refused; a claim becomes deliverable in the very transaction that ends its build, with the outbox
row that says so; whatever the end, workspace, build and job agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.aftermath import Aftermath
from reconciler.core.builds import BuiltWorkspace, LogLine
from reconciler.core.dryruns import Findings, to_row
from reconciler.core.jobs import (
    Fail,
    JobEvent,
    JobKind,
    JobStatus,
    Requeue,
    decide_failed,
    decide_released,
    decide_silent,
    next_status,
)
from reconciler.core.notifications.keys import once_key
from reconciler.core.notifications.kinds import Kind
from reconciler.core.templates import ImportResult
from reconciler.store.checks import SQL as CHECKS
from reconciler.store.cipher import StateCipher
from reconciler.store.completing import complete_build
from reconciler.store.db import Connection, Database
from reconciler.store.events import tell_of_pool
from reconciler.store.jobs import SQL as JOBS
from reconciler.store.jobs import SilentJob, expect_kind, hold_attempt, insert_lines
from reconciler.store.queries import load_queries
from reconciler.store.settling import fail_claim, tell_of_rehearsal
from reconciler.store.templates import finish_import
from svckit.errors import FailedPrecondition, NotFound

__all__ = ["JobEnds"]

SQL = load_queries("builds")
CLAIM_ATTEMPTS_MAX = 3


class JobEnds:
    """Ends jobs."""

    def __init__(self, database: Database, cipher: StateCipher) -> None:
        self._database = database
        self._cipher = cipher

    async def complete_build(
        self,
        job_id: UUID,
        attempt: int,
        organization_id: UUID | None,
        built: BuiltWorkspace,
        lines: Sequence[LogLine],
        now: datetime,
    ) -> Aftermath | None:
        """Records a build that succeeded; None if that is known already."""

        async def work(connection: Connection) -> Aftermath | None:
            return await complete_build(
                connection, self._cipher, job_id, attempt, organization_id, built, lines, now
            )

        run = self._database.transact if built.replacements else self._database.change
        return await run(work)

    async def complete_import(
        self,
        job_id: UUID,
        attempt: int,
        organization_id: UUID | None,
        result: ImportResult,
        lines: Sequence[LogLine],
        now: datetime,
    ) -> Aftermath | None:
        """Records what a template asks and offers; promotes the version if its author asked for
        that.
        """

        async def work(connection: Connection) -> Aftermath | None:
            job = await hold_attempt(connection, job_id, attempt, organization_id)
            if job is None:
                return None
            expect_kind(job, JobKind.IMPORT)
            await insert_lines(connection, job_id, attempt, lines, job["log_bytes"])
            presets = await finish_import(connection, job["template_version_id"], result, now)
            end = _Ending(connection, job, now)
            await end.finish(JobEvent.SUCCEEDED)
            return end.aftermath(None, preset_ids=presets)

        return await self._database.transact(work)

    async def complete_dry_run(
        self,
        job_id: UUID,
        attempt: int,
        organization_id: UUID | None,
        findings: Findings,
        lines: Sequence[LogLine],
        now: datetime,
    ) -> Aftermath | None:
        """Records that a dry run ended well, and what it found; what a rehearsed claim would
        replace is told to template admins.
        """

        async def work(connection: Connection) -> Aftermath | None:
            job = await hold_attempt(connection, job_id, attempt, organization_id)
            if job is None:
                return None
            expect_kind(job, JobKind.DRY_RUN)
            await insert_lines(connection, job_id, attempt, lines, job["log_bytes"])
            await connection.execute(CHECKS.keep_findings, job_id, to_row(findings))
            await tell_of_rehearsal(connection, job_id, findings.replacements, now)
            end = _Ending(connection, job, now)
            await end.finish(JobEvent.SUCCEEDED)
            return end.aftermath(None)

        return await self._database.transact(work)

    async def fail(
        self,
        job_id: UUID,
        attempt: int,
        organization_id: UUID | None,
        *,
        error: str,
        reason: str,
        is_retryable: bool,
        lines: Sequence[LogLine],
        now: datetime,
    ) -> Aftermath | None:
        """Records that a worker gave up; a claim may be tried again."""

        async def work(connection: Connection) -> Aftermath | None:
            job = await hold_attempt(connection, job_id, attempt, organization_id)
            if job is None:
                return None
            await insert_lines(connection, job_id, attempt, lines, job["log_bytes"])
            build = await connection.fetchrow(SQL.get_build, job_id)
            decision = decide_failed(
                is_claim=build is not None and build["stage"] == "claim",
                is_retryable=is_retryable and job["status"] == JobStatus.RUNNING.value,
                attempt=attempt,
                attempts_max=CLAIM_ATTEMPTS_MAX,
                error=error,
                reason=reason,
            )
            return await _carry_out(connection, job, build, decision, now)

        return await self._database.transact(work)

    async def release(
        self, job_id: UUID, attempt: int, organization_id: UUID | None, now: datetime
    ) -> Aftermath | None:
        """Hands a job back to the queue, for another worker to take at once; one that was asked to
        stop ends here.
        """

        async def work(connection: Connection) -> Aftermath | None:
            job = await hold_attempt(connection, job_id, attempt, organization_id)
            if job is None:
                return None
            build = await connection.fetchrow(SQL.get_build, job_id)
            decision = decide_released(JobStatus(job["status"]), attempt=attempt)
            return await _carry_out(connection, job, build, decision, now)

        return await self._database.transact(work)

    async def settle_silent(self, silent: SilentJob, now: datetime) -> Aftermath | None:
        """Gives a silent job to another worker, or fails it; None if it has spoken since."""

        async def work(connection: Connection) -> Aftermath | None:
            job = await connection.fetchrow(JOBS.lock_job, silent.id)
            if (
                job is None
                or job["attempt"] != silent.attempt
                or JobStatus(job["status"]) is not silent.status
                or job["heartbeat_at"] != silent.heartbeat_at
            ):
                return None
            build = await connection.fetchrow(SQL.get_build, silent.id)
            decision = decide_silent(
                silent.silence,
                status=silent.status,
                is_claim=build is not None and build["stage"] == "claim",
                attempt=silent.attempt,
                attempts_max=CLAIM_ATTEMPTS_MAX,
            )
            return await _carry_out(connection, job, build, decision, now)

        return await self._database.transact(work)

    async def cancel(self, job_id: UUID, now: datetime) -> Aftermath:
        """Cancels a waiting job at once, asks the worker of a running one to stop."""

        async def work(connection: Connection) -> Aftermath:
            job = await connection.fetchrow(JOBS.lock_job, job_id)
            if job is None:
                raise NotFound(f"there is no job {job_id}", reason="JOB_UNKNOWN", field="job_id")
            status = JobStatus(job["status"])
            if status.is_final:
                raise FailedPrecondition(
                    f"job {job_id} has ended already: {status.value}", reason="JOB_ENDED"
                )
            build = await connection.fetchrow(SQL.get_build, job_id)
            end = _Ending(connection, job, now)
            if status is JobStatus.PENDING:
                await end.finish(JobEvent.CANCEL_REQUESTED, error="canceled on request")
                if build is not None:
                    error = "the claim build was canceled"
                    await fail_claim(connection, build["workspace_id"], error, now, is_told=False)
            else:
                await connection.execute(JOBS.request_cancel, job_id, now)
                end.status = JobStatus.CANCELING
            return end.aftermath(build)

        return await self._database.transact(work)


class _Ending:
    """The last change of one job within a transaction."""

    def __init__(self, connection: Connection, job: asyncpg.Record, now: datetime) -> None:
        self._connection = connection
        self._job = job
        self._now = now
        self.status = JobStatus(job["status"])
        self._error = ""

    async def finish(
        self,
        event: JobEvent,
        *,
        error: str = "",
        reason: str = "",
    ) -> None:
        self.status = next_status(self.status, event)
        self._error = error
        job_id = self._job["id"]
        await self._connection.execute(
            JOBS.finish_job, job_id, self.status.value, error, reason, self._now
        )
        await self._connection.execute(SQL.finish_build, job_id, self.status.value, self._now)

    def aftermath(
        self,
        build: asyncpg.Record | None,
        *,
        preset_ids: tuple[UUID, ...] = (),
        requeued: str = "",
    ) -> Aftermath:
        if build is not None and build["born_in_pool"] and build["preset_id"]:
            preset_ids = (build["preset_id"],)
        return Aftermath(
            job_id=self._job["id"],
            status=self.status,
            organization_id=self._job["organization_id"],
            workspace_id=build["workspace_id"] if build is not None else None,
            preset_ids=preset_ids,
            requeued=requeued,
            error=self._error,
        )


async def _carry_out(
    connection: Connection,
    job: asyncpg.Record,
    build: asyncpg.Record | None,
    decision: Requeue | Fail,
    now: datetime,
) -> Aftermath:
    end = _Ending(connection, job, now)
    match decision:
        case Requeue():
            await connection.execute(JOBS.release_job, job["id"], now)
            end.status = next_status(end.status, JobEvent.RELEASED)
            return end.aftermath(build, requeued=job["provisioner_type"])
        case Fail(error=error, reason=reason):
            event = JobEvent.CANCELED if reason == "CANCELED" else JobEvent.FAILED
            await end.finish(event, error=error, reason=reason)
            if build is not None:
                is_told = event is JobEvent.FAILED and build["transition"] == "start"
                await fail_claim(connection, build["workspace_id"], error, now, is_told=is_told)
                if build["stage"] == "create" and reason == "VALIDATION" and build["preset_id"]:
                    message = (
                        f"validation refused a prebuild; the pool waits for a version: {error}"
                    )
                    await _refuse_pool(connection, build["preset_id"], message, now)
            return end.aftermath(build)


async def _refuse_pool(
    connection: Connection, preset_id: UUID, message: str, now: datetime
) -> None:
    if await connection.fetchval(SQL.refuse_pool, preset_id, message) is None:
        return
    kind = Kind.POOL_VALIDATION_FAILED
    await tell_of_pool(connection, once_key(kind, preset_id), preset_id, kind, message, now)
