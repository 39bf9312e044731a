"""The provisioners' API: jobs out, signs of life and results in.

On an acquire stream a worker first says who it is, then how many jobs it wants. It is given one as
soon as there is one: woken by a hint, and by a slow poll when the hint was lost (`desks`). A job
whose answer is lost on the way is not lost: without a first heartbeat it goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from reconciler.core.aftermath import Aftermath, announce
from reconciler.core.hints import Hints
from reconciler.core.jobs import AcquiredJob, decide_tags
from reconciler.core.permissions import ServicePrincipal
from reconciler.rpc.desks import Desk, Desks
from reconciler.rpc.principals import calling_service
from reconciler.rpc.waits import Waits
from reconciler.store.builds import JobEnds
from reconciler.store.jobs import JobQueue, Worker
from reconciler.store.tfstates import Tfstates
from reconciler.wire.checks import decode_findings
from reconciler.wire.jobs import decode_built_workspace, decode_lines, encode_job
from reconciler.wire.templates import decode_import_result
from reconciler.wire.values import decode_uuid
from svckit.errors import InvalidArgument, ResourceExhausted, ServiceError
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock
from warmpool.provisioner.v1 import provisioner_pb2 as pb
from warmpool.provisioner.v1 import provisioner_pb2_grpc as rpc

__all__ = ["ProvisionerServicer", "ProvisionerSettings"]

LOG = get_logger(__name__)
CHUNK_BYTES = 1024 * 1024
TFSTATE_BYTES_MAX = 64 * 1024 * 1024
WANT_MAX = 256
LINES_MAX = 1000
REASONS = ("CANCELED", "VALIDATION", "PROVISIONER", "INTERNAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionerSettings:
    """What workers are told. `access_url` is where agents find their gateway."""

    access_url: str
    heartbeat_seconds: float = 3.0
    hung_seconds: float = 300.0
    poll_seconds: float = 5.0
    keep_alive_seconds: float = 10.0
    cancel_grace_seconds: float = 60.0


class _Wants:
    """What a worker has asked for so far, and has not got."""

    def __init__(self) -> None:
        self.count = 0
        self.is_open = True


class ProvisionerServicer(rpc.ProvisionerServiceServicer):
    """Implements ProvisionerService."""

    def __init__(
        self,
        queue: JobQueue,
        tfstates: Tfstates,
        ends: JobEnds,
        hints: Hints,
        waits: Waits,
        clock: Clock,
        settings: ProvisionerSettings,
        stopping: asyncio.Event,
    ) -> None:
        self._queue = queue
        self._tfstates = tfstates
        self._ends = ends
        self._hints = hints
        self._waits = waits
        self._clock = clock
        self._settings = settings
        self._stopping = stopping
        self._desks = Desks(queue, waits, clock, settings.poll_seconds)

    async def AcquireJobs(
        self,
        request_iterator: AsyncIterator[pb.AcquireJobsRequest],
        context: object,
    ) -> AsyncGenerator[pb.AcquireJobsResponse, None]:
        worker = _decode_worker(await anext(request_iterator, None), calling_service("provisioner"))
        await self._queue.register(worker, self._clock.now())
        LOG.info("a provisioner has come", worker_id=str(worker.id), name=worker.name)
        wants = _Wants()
        refusal: ServiceError | None = None
        try:
            desk = self._desks.of(worker)
            with desk.occupied(), self._waits.waiting_worker() as nudge:
                async with asyncio.TaskGroup() as tasks:
                    reader = tasks.create_task(_read_wants(request_iterator, wants, nudge))
                    stopper = tasks.create_task(_wake_on(self._stopping, nudge))
                    try:
                        async for response in self._offer(worker, desk, wants, nudge):
                            yield response
                    except ServiceError as error:
                        refusal = error  # the group would wrap it, and its caller hear INTERNAL
                    finally:
                        reader.cancel()
                        stopper.cancel()
            if refusal is not None:
                raise refusal
        finally:
            LOG.info("a provisioner has gone", worker_id=str(worker.id), name=worker.name)

    async def _offer(
        self, worker: Worker, desk: Desk, wants: _Wants, nudge: Nudge
    ) -> AsyncGenerator[pb.AcquireJobsResponse, None]:
        yield pb.AcquireJobsResponse(keep_alive=pb.KeepAlive())  # says that the worker is known
        registered_at = self._clock.monotonic()
        while wants.is_open:
            if self._stopping.is_set():
                yield pb.AcquireJobsResponse(reconnect=pb.Reconnect(after_ms=200))
                return
            jobs = await desk.take(worker, wants.count)
            wants.count -= len(jobs)
            for job in jobs:
                yield self._encode(job, worker)
            if not jobs:
                await nudge.wait(
                    desk.seconds_to_poll if wants.count else self._settings.poll_seconds
                )
            # However busy it is: who is not seen counts as absent.
            if self._clock.monotonic() - registered_at >= self._settings.keep_alive_seconds:
                registered_at = self._clock.monotonic()
                await self._queue.register(worker, self._clock.now())
                yield pb.AcquireJobsResponse(keep_alive=pb.KeepAlive())

    def _encode(self, job: AcquiredJob, worker: Worker) -> pb.AcquireJobsResponse:
        LOG.info(
            "a job was acquired",
            job_id=str(job.id),
            attempt=job.attempt,
            worker_id=str(worker.id),
        )
        if job.build is not None:
            self._hints.workspace_changed(job.build.workspace_id)
        return pb.AcquireJobsResponse(
            job=encode_job(
                job,
                heartbeat_seconds=self._settings.heartbeat_seconds,
                hung_seconds=self._settings.hung_seconds,
                access_url=self._settings.access_url,
            )
        )

    async def Heartbeat(
        self, request: pb.HeartbeatRequest, context: object
    ) -> pb.HeartbeatResponse:
        if len(request.lines) > LINES_MAX:
            raise InvalidArgument(
                f"lines: {len(request.lines)} at once; at most {LINES_MAX} are allowed",
                reason="TOO_MANY_LINES",
                field="lines",
            )
        now = self._clock.now()
        cancelled_at = await self._queue.heartbeat(
            *_decode_ref(request.ref), decode_lines(request.lines, now), now
        )
        if cancelled_at is None:
            return pb.HeartbeatResponse()
        waited = (now - cancelled_at).total_seconds()
        return pb.HeartbeatResponse(
            cancel=True, cancel_forced=waited >= self._settings.cancel_grace_seconds
        )

    async def DownloadTemplate(
        self, request: pb.DownloadTemplateRequest, context: object
    ) -> AsyncGenerator[pb.DownloadTemplateResponse, None]:
        content = await self._queue.read_archive(*_decode_ref(request.ref))
        for start in range(0, len(content), CHUNK_BYTES):
            yield pb.DownloadTemplateResponse(chunk=content[start : start + CHUNK_BYTES])

    async def DownloadState(
        self, request: pb.DownloadStateRequest, context: object
    ) -> AsyncGenerator[pb.DownloadStateResponse, None]:
        content = await self._tfstates.read(*_decode_ref(request.ref)) or b""
        for start in range(0, len(content), CHUNK_BYTES):
            yield pb.DownloadStateResponse(chunk=content[start : start + CHUNK_BYTES])

    async def UploadState(
        self, request_iterator: AsyncIterator[pb.UploadStateRequest], context: object
    ) -> pb.UploadStateResponse:
        ref: pb.JobRef | None = None
        content = bytearray()
        async for part in request_iterator:
            ref = ref or part.ref
            content += part.chunk
            if len(content) > TFSTATE_BYTES_MAX:
                raise ResourceExhausted(
                    f"chunk: the tfstate is larger than {TFSTATE_BYTES_MAX} bytes",
                    reason="TFSTATE_TOO_LARGE",
                    field="chunk",
                )
        if ref is None:
            raise InvalidArgument("ref: missing; the first message names the job", field="ref")
        await self._tfstates.keep(*_decode_ref(ref), bytes(content))
        return pb.UploadStateResponse(size_bytes=len(content))

    async def CompleteJob(
        self, request: pb.CompleteJobRequest, context: object
    ) -> pb.CompleteJobResponse:
        ref = _decode_ref(request.ref)
        now = self._clock.now()
        lines = decode_lines(request.lines, now)
        match request.WhichOneof("result"):
            case "workspace_build":
                built = decode_built_workspace(request.workspace_build)
                aftermath = await self._ends.complete_build(*ref, built, lines, now)
            case "template_import":
                result = decode_import_result(request.template_import)
                aftermath = await self._ends.complete_import(*ref, result, lines, now)
            case "template_dry_run":
                findings = decode_findings(request.template_dry_run)
                aftermath = await self._ends.complete_dry_run(*ref, findings, lines, now)
            case _:
                raise InvalidArgument(
                    "result: missing; one of template_import, template_dry_run, workspace_build",
                    reason="RESULT_MISSING",
                    field="result",
                )
        self._announce(aftermath)
        return pb.CompleteJobResponse()

    async def FailJob(self, request: pb.FailJobRequest, context: object) -> pb.FailJobResponse:
        if request.reason not in REASONS:
            raise InvalidArgument(
                f'reason: "{request.reason[:32]}" is none of {", ".join(REASONS)}',
                reason="REASON_INVALID",
                field="reason",
            )
        now = self._clock.now()
        job_id, attempt, organization_id = _decode_ref(request.ref)
        aftermath = await self._ends.fail(
            job_id,
            attempt,
            organization_id,
            error=request.error or "the provisioner gave no cause",
            reason=request.reason,
            is_retryable=request.retryable,
            lines=decode_lines(request.lines, now),
            now=now,
        )
        self._announce(aftermath)
        return pb.FailJobResponse()

    async def ReleaseJob(
        self, request: pb.ReleaseJobRequest, context: object
    ) -> pb.ReleaseJobResponse:
        aftermath = await self._ends.release(*_decode_ref(request.ref), self._clock.now())
        self._announce(aftermath)
        return pb.ReleaseJobResponse()

    def _announce(self, aftermath: Aftermath | None) -> None:
        if aftermath is None:
            return
        announce(self._hints, aftermath)
        LOG.info(
            "a job has ended" if aftermath.status.is_final else "a job was handed back",
            job_id=str(aftermath.job_id),
            state=aftermath.status.value,
            reason=aftermath.error[:500],
        )


def _decode_worker(first: pb.AcquireJobsRequest | None, key: ServicePrincipal) -> Worker:
    if first is None or first.WhichOneof("message") != "register":
        raise InvalidArgument(
            "register: missing; the first message says who the provisioner is",
            reason="NOT_REGISTERED",
            field="register",
        )
    who = first.register
    if not who.provisioner_types:
        raise InvalidArgument(
            "register.provisioner_types: empty; at least one of terraform, process",
            reason="NO_PROVISIONER_TYPES",
            field="register.provisioner_types",
        )
    return Worker(
        id=decode_uuid(who.worker_id, "register.worker_id"),
        name=who.name[:128],
        version=who.version[:64],
        provisioner_types=tuple(who.provisioner_types),
        tags=decide_tags(who.tags, key.tags),
        key_id=key.key_id,
        organization_id=key.organization_id,
    )


def _decode_ref(ref: pb.JobRef) -> tuple[UUID, int, UUID | None]:
    key = calling_service("provisioner")
    if ref.attempt < 1:
        raise InvalidArgument(
            f"ref.attempt: {ref.attempt}; attempts count from 1",
            reason="ATTEMPT_INVALID",
            field="ref.attempt",
        )
    return decode_uuid(ref.job_id, "ref.job_id"), ref.attempt, key.organization_id


async def _read_wants(
    requests: AsyncIterator[pb.AcquireJobsRequest], wants: _Wants, nudge: Nudge
) -> None:
    try:
        async for request in requests:
            wants.count = min(WANT_MAX, wants.count + max(0, request.want.count))
            nudge.set()
    finally:
        wants.is_open = False
        nudge.set()


async def _wake_on(event: asyncio.Event, nudge: Nudge) -> None:
    await event.wait()
    nudge.set()
