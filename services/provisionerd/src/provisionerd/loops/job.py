"""One job from its arrival to its acknowledged report.

Promises: the job's provisioner runs only while the control plane may believe that this attempt is
the live one, and stops before the silence of a worker that is cut off ends that; a report is
repeated until it is acknowledged or the attempt is over, and comes after the last tfstate; the
control plane may be away for minutes without harm. Whatever happens inside, `run` ends, the job's
processes are gone and its directory is wiped, unless it holds a tfstate that nobody has taken yet;
one that nobody will take any more is set aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from provisionerd.core.errors import (
    ControlPlaneError,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    JobSuperseded,
    ProvisionCanceled,
    WorkerUnfit,
)
from provisionerd.core.jobs import (
    AcquiredJob,
    BuildWork,
    Completion,
    DryRunResult,
    DryRunWork,
    ImportWork,
    JobFailure,
    JobResult,
    RehearsalWork,
    Undecodable,
)
from provisionerd.core.provisioner import Job, Provisioner
from provisionerd.core.reports import (
    Ended,
    HandBack,
    Raised,
    Report,
    SaidNothing,
    Stopped,
    decide_report,
)
from provisionerd.loops.control import JobControl, pause
from provisionerd.loops.control_plane import ControlPlane
from provisionerd.loops.heartbeat import Heartbeat
from provisionerd.loops.joblog import JobLog
from provisionerd.loops.metrics import WorkerMetrics
from provisionerd.loops.prepare import Preparation
from provisionerd.loops.uplink import TfstateUplink
from provisionerd.store.jobdirs import JobDir, JobDirs
from svckit.backoff import Backoff
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["JobRunner"]

_LOG = get_logger(__name__)
_TRACER = trace.get_tracer(__name__)
_PROPAGATOR = TraceContextTextMapPropagator()
_FORCE_SECONDS = 10.0  # how long a provisioner may take to obey force before its task is cancelled


class JobRunner:
    """Runs jobs, each on its own."""

    def __init__(
        self,
        plane: ControlPlane,
        provisioners: Mapping[str, Provisioner],
        preparation: Preparation,
        dirs: JobDirs,
        metrics: WorkerMetrics,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._plane = plane
        self._provisioners = provisioners
        self._preparation = preparation
        self._dirs = dirs
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy

    async def run(self, job: AcquiredJob, control: JobControl) -> None:
        """Runs one job to its end; raises nothing but cancellation."""
        began = self._clock.monotonic()
        log = JobLog(self._clock)
        outcome = "broken"
        parent = _PROPAGATOR.extract({"traceparent": job.traceparent})
        try:
            with _TRACER.start_as_current_span(
                job.kind, context=parent, attributes={"job_id": str(job.ref.job_id)}
            ):
                outcome = await self._run(job, control, log)
        except Exception as error:
            _LOG.error(
                "a job broke",
                action=job.kind,
                job_id=str(job.ref.job_id),
                attempt=job.ref.attempt,
                error=error,
            )
            await self._say_broken(job, error)
        finally:
            elapsed_seconds = self._clock.monotonic() - began
            self._metrics.count_end(
                job, outcome, elapsed_seconds=elapsed_seconds, lines_dropped=log.dropped_total
            )
            _LOG.info(
                "a job ended",
                action=job.kind,
                job_id=str(job.ref.job_id),
                attempt=job.ref.attempt,
                reason=outcome,
                elapsed_seconds=round(elapsed_seconds, 3),
            )
            control.ended.set()

    async def _run(self, job: AcquiredJob, control: JobControl, log: JobLog) -> str:
        job_dir = await asyncio.to_thread(self._dirs.make, job.ref)
        heartbeat = Heartbeat(
            self._plane, job, log, control, clock=self._clock, entropy=self._entropy
        )
        uplink = TfstateUplink(self._plane, job_dir, control, entropy=self._entropy)
        try:
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(heartbeat.run())
                guarding = group.create_task(heartbeat.guard())
                sending = group.create_task(uplink.run())
                end = await self._perform(job, job_dir, control, log, uplink)
                guarding.cancel()  # nothing runs any more
                refusal = await uplink.settle()
                report = decide_report(
                    end,
                    superseded=control.superseded.is_set(),
                    canceled=control.is_canceled,
                    draining=control.is_draining,
                    cut_off=control.is_cut_off,
                    tfstate_refused=refusal.detail or refusal.code if refusal else "",
                )
                outcome = await self._report(job, report, control, log, heartbeat)
                beating.cancel()
                sending.cancel()
        finally:
            # a process that is ended before its last tfstate was taken leaves it to the next one
            if control.superseded.is_set() or not uplink.has_unsent:
                await asyncio.to_thread(self._clear_away, job_dir)
        return outcome

    async def _perform(
        self,
        job: AcquiredJob,
        job_dir: JobDir,
        control: JobControl,
        log: JobLog,
        uplink: TfstateUplink,
    ) -> Ended | Raised | Stopped:
        provisioner = self._provisioners.get(job.provisioner_type)
        try:
            async with AsyncExitStack() as stack:
                prepared = await self._preparation.fetch(job, control, stack)
                if prepared is None:
                    return Stopped()
                if provisioner is None:
                    raise WorkerUnfit(f"this worker has no provisioner {job.provisioner_type!r}")
                surroundings = Job(
                    job_id=str(job.ref.job_id),
                    template_dir=prepared.template_dir,
                    work_dir=job_dir.work_dir,
                    log=log,
                    cancel=control.cancel,
                    state=prepared.tfstate,
                    keep_state=uplink.keep,
                )
                control.is_started = True
                end = await self._provision(job, provisioner, surroundings, control)
        except JobSuperseded:
            control.supersede()
            return Stopped()
        except Exception as error:
            end = Raised(error=error)
        if isinstance(end, Raised) and not control.superseded.is_set():
            _LOG.info(
                "a provisioner raised",
                action=job.kind,
                job_id=str(job.ref.job_id),
                attempt=job.ref.attempt,
                error=end.error,
            )
        return end

    async def _provision(
        self, job: AcquiredJob, provisioner: Provisioner, surroundings: Job, control: JobControl
    ) -> Ended | Raised:
        async def attempt() -> Ended | Raised:
            try:
                return Ended(result=await _call(job, provisioner, surroundings))
            except Exception as error:
                return Raised(error=error)

        async def insist() -> None:
            await control.cancel.forced.wait()
            await self._clock.sleep(_FORCE_SECONDS)
            call.cancel()

        async with asyncio.TaskGroup() as group:
            call = group.create_task(attempt())
            insistence = group.create_task(insist())
            await asyncio.wait({call})
            insistence.cancel()
        return Raised(error=ProvisionCanceled()) if call.cancelled() else call.result()

    async def _report(
        self,
        job: AcquiredJob,
        report: Report,
        control: JobControl,
        log: JobLog,
        heartbeat: Heartbeat,
    ) -> str:
        backoff = Backoff(0.2, 10.0, self._entropy)
        while not control.superseded.is_set():
            while log.has_more_than_a_batch and await heartbeat.beat():
                pass
            try:
                return await self._say(job, report, log)
            except JobSuperseded:
                break
            except ControlPlaneUnavailable as error:
                delay_seconds = error.retry_after_seconds or backoff.next()
                _LOG.warning(
                    "a report did not get through; repeating it",
                    action="report",
                    job_id=str(job.ref.job_id),
                    attempt=job.ref.attempt,
                    code=error.code,
                    delay_seconds=delay_seconds,
                    error=error,
                )
                await pause(delay_seconds, control.superseded)
            except ControlPlaneRefused as error:
                if not isinstance(report, Completion):
                    raise
                report = JobFailure(
                    error=f"the control plane refused the result: {error.detail}",
                    reason="INTERNAL",
                    retryable=False,
                )
        return "superseded"

    async def _say(self, job: AcquiredJob, report: Report, log: JobLog) -> str:
        match report:
            case Completion():
                async with log.batch() as lines:
                    await self._plane.complete(job.ref, report, lines)
                return "succeeded"
            case JobFailure():
                async with log.batch() as lines:
                    await self._plane.fail(job.ref, report, lines)
                return "canceled" if report.reason == "CANCELED" else "failed"
            case HandBack(reason=reason):
                await self._plane.release(job.ref, reason)
                return "released"
            case SaidNothing():
                return "superseded"

    async def _say_broken(self, job: AcquiredJob, error: Exception) -> None:
        """Tells once; if that fails too, the job's silence will."""
        report = decide_report(
            Raised(error=error), superseded=False, canceled=False, draining=False
        )
        if isinstance(report, JobFailure):
            with suppress(ControlPlaneError):
                await self._plane.fail(job.ref, report, ())

    def _clear_away(self, job_dir: JobDir) -> None:
        path = job_dir.set_aside()
        if path is not None:
            _LOG.error(
                "the control plane did not take a tfstate; it is kept for a person to look at",
                action="upload_state",
                job_id=str(job_dir.ref.job_id),
                attempt=job_dir.ref.attempt,
                path=str(path),
            )
        self._dirs.remove(job_dir)


async def _call(job: AcquiredJob, provisioner: Provisioner, surroundings: Job) -> JobResult:
    match job.work:
        case ImportWork():
            return await provisioner.import_template(surroundings)
        case DryRunWork(parameters=parameters):
            found = await provisioner.dry_run(surroundings, parameters)
            return DryRunResult(resources=found.resources, owner_dependent=found.owner_dependent)
        case RehearsalWork(build=build):
            return DryRunResult(replacements=await provisioner.rehearse(surroundings, build))
        case BuildWork(build=build):
            return await provisioner.build(surroundings, build)
        case Undecodable(reason=reason):
            raise WorkerUnfit(reason)
