"""Asks for jobs as long as there are free slots, and runs them.

Promises: an acquire stream is held for as long as the process is not stopping; it is dialled anew
whenever it ends, falls silent or is asked to move, without touching the jobs in hand; no more jobs
are run than there are slots, and what comes beyond them is handed back. Of one job only one attempt
runs here: a newer one waits until the older one is gone.

When the process is to stop, nothing more is asked for; jobs that have not begun are handed back at
once; the others may end by themselves for the greater part of `drain_seconds`, are then asked to
stop, and at last made to. `run` returns when no job is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from provisionerd.core.errors import (
    ControlPlaneError,
    ControlPlaneRefused,
)
from provisionerd.core.jobs import (
    AcquiredJob,
    JobOffered,
    JobRef,
    KeptAlive,
    ReconnectAsked,
    Worker,
)
from provisionerd.core.slots import Slots
from provisionerd.loops.control import JobControl, pause
from provisionerd.loops.control_plane import ControlPlane, OfferStream
from provisionerd.loops.job import JobRunner
from provisionerd.loops.metrics import WorkerMetrics
from provisionerd.loops.rescue import Rescue
from svckit.backoff import Backoff
from svckit.log import get_logger
from svckit.rungroup import LoopEnded
from svckit.system import Clock, Entropy

__all__ = ["WorkerLoop"]

_LOG = get_logger(__name__)
_SILENCE_SECONDS = 90.0  # several keep-alives of the control plane
_STABLE_SECONDS = 5.0  # a stream that lived this long earns a fresh backoff
_LAST_OFFERS_SECONDS = 1.0  # for jobs that were on their way when we stopped asking
_LAST_CALLS_SECONDS = 2.0
# the parts of a drain: by themselves, asked to stop, made to stop, reported
_GRACEFUL_AT = 0.6
_FORCED_AT = 0.85


class WorkerLoop:
    """The loop of one process."""

    def __init__(
        self,
        plane: ControlPlane,
        worker: Worker,
        runner: JobRunner,
        rescue: Rescue,
        slots: Slots,
        metrics: WorkerMetrics,
        *,
        stopping: asyncio.Event,
        drain_seconds: float,
        on_registered: Callable[[], None],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._plane = plane
        self._worker = worker
        self._runner = runner
        self._rescue = rescue
        self._slots = slots
        self._metrics = metrics
        self._stopping = stopping
        self._drain_seconds = drain_seconds
        self._on_registered = on_registered
        self._clock = clock
        self._entropy = entropy
        self._controls: dict[JobRef, JobControl] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Runs until the process is to stop and its jobs have ended; raises LoopEnded if it has
        ceased to ask for jobs before.
        """
        leftovers = await self._rescue.prepare()
        async with asyncio.TaskGroup() as group:
            rescuing = group.create_task(self._rescue.run(leftovers))
            acquiring = group.create_task(self._acquire(group))
            told = group.create_task(self._stopping.wait())
            await asyncio.wait({acquiring, told}, return_when=asyncio.FIRST_COMPLETED)
            if (
                not self._stopping.is_set()
            ):  # a task group does not tell of a task that is cancelled
                raise LoopEnded("no more jobs are asked for, and nobody said so")
            await self._drain()
            await asyncio.wait({rescuing, acquiring}, timeout=_LAST_CALLS_SECONDS)
            for task in (rescuing, acquiring, *self._tasks):
                task.cancel()

    async def _acquire(self, group: asyncio.TaskGroup) -> None:
        backoff = Backoff(0.1, 10.0, self._entropy)
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            delay_seconds = await self._follow_one_stream(group)
            if self._clock.monotonic() - began >= _STABLE_SECONDS:
                backoff.reset()
            if delay_seconds is None:
                delay_seconds = backoff.next()
            else:  # asked to move, like everybody else on that replica
                delay_seconds *= self._entropy.random()
            await pause(delay_seconds, self._stopping)

    async def _follow_one_stream(self, group: asyncio.TaskGroup) -> float | None:
        """Holds one stream to its end; how long to wait if the control plane said so."""
        try:
            async with self._plane.acquire_stream(self._worker) as stream:
                self._slots.begin_stream()
                try:
                    async with asyncio.TaskGroup() as parts:
                        parts.create_task(self._notice_registration(stream))
                        wanting = parts.create_task(self._want(stream))
                        delay_seconds = await self._read(stream, group)
                        wanting.cancel()
                except ExceptionGroup as failures:
                    raise failures.exceptions[0] from None
                return delay_seconds
        except _Quiet:
            return None
        except ControlPlaneError as error:
            log = _LOG.error if isinstance(error, ControlPlaneRefused) else _LOG.warning
            log(
                "the acquire stream ended; dialling again",
                action="acquire",
                code=error.code,
                error=error,
            )
            return None

    async def _notice_registration(self, stream: OfferStream) -> None:
        await stream.registered(timeout_seconds=_SILENCE_SECONDS)
        self._metrics.count_stream()
        self._on_registered()
        _LOG.info(
            "registered with the control plane",
            action="register",
            worker_id=self._worker.worker_id,
            name=self._worker.name,
        )

    async def _want(self, stream: OfferStream) -> None:
        while not self._stopping.is_set():
            self._freed.clear()
            if count := self._slots.next_want():
                await stream.want(count)
            await self._freed.wait()
        await stream.stop_wanting()
        await self._clock.sleep(_LAST_OFFERS_SECONDS)
        raise _Quiet

    async def _read(self, stream: OfferStream, group: asyncio.TaskGroup) -> float | None:
        while True:
            try:
                offer = await stream.next_offer(timeout_seconds=_SILENCE_SECONDS)
            except ValueError as error:
                _LOG.error("an offer made no sense", action="acquire", error=error)
                self._pass_over()
                continue
            match offer:
                case None:
                    return None
                case ReconnectAsked(after_seconds=after_seconds):
                    _LOG.info("asked to dial again", action="acquire", delay_seconds=after_seconds)
                    return after_seconds
                case JobOffered(job=job):
                    self._take(job, group)
                case KeptAlive():
                    pass

    def _take(self, job: AcquiredJob, group: asyncio.TaskGroup) -> None:
        same = [ref for ref in self._controls if ref.job_id == job.ref.job_id]
        if any(ref.attempt >= job.ref.attempt for ref in same):
            self._pass_over()  # offered twice, or late
            return
        for ref in same:
            self._controls[ref].supersede()
        if self._stopping.is_set():
            group.create_task(self._decline(job, "the worker is shutting down"))
            return
        # an older attempt holds its slot only until it has stopped
        if not self._slots.take(job.ref) and not same:
            group.create_task(self._decline(job, "the worker has no free slot"))
            return
        control = JobControl()
        older = [self._controls[ref].ended for ref in same]
        self._controls[job.ref] = control
        self._idle.clear()
        task = group.create_task(self._run(job, control, older))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _pass_over(self) -> None:
        self._slots.pass_over()
        self._freed.set()

    async def _run(self, job: AcquiredJob, control: JobControl, older: list[asyncio.Event]) -> None:
        _LOG.info(
            "a job came",
            action=job.kind,
            job_id=str(job.ref.job_id),
            attempt=job.ref.attempt,
            template_version_id=job.template_version_id,
        )
        try:
            for ended in older:
                await ended.wait()
            await self._runner.run(job, control)
        finally:
            del self._controls[job.ref]
            self._slots.give_back(job.ref)
            self._freed.set()
            if not self._controls:
                self._idle.set()

    async def _decline(self, job: AcquiredJob, reason: str) -> None:
        try:
            await self._plane.release(job.ref, reason)
        except ControlPlaneError as error:
            _LOG.warning(
                "a job could not be handed back; its silence will tell",
                action="release",
                job_id=str(job.ref.job_id),
                attempt=job.ref.attempt,
                code=error.code,
                error=error,
            )

    async def _drain(self) -> None:
        _LOG.info("stopping; no more jobs are taken", action="drain", count=len(self._controls))
        ends_at = self._clock.monotonic() + self._drain_seconds
        self._freed.set()
        for control in self._controls.values():
            if not control.is_started:
                control.drain(forced=False)
        await self._wait_idle(ends_at - self._drain_seconds * (1 - _GRACEFUL_AT))
        for control in self._controls.values():
            control.drain(forced=False)
        await self._wait_idle(ends_at - self._drain_seconds * (1 - _FORCED_AT))
        for control in self._controls.values():
            control.drain(forced=True)
        await self._wait_idle(ends_at)

    async def _wait_idle(self, until: float) -> None:
        await pause(max(0.0, until - self._clock.monotonic()), self._idle)


class _Quiet(Exception):
    """The stream has done its duty."""
