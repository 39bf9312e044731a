"""A control plane for provisioners that lives in memory and is reached over real gRPC.

It hands out what a test posts, keeps everything it is told, fences attempts as the real one does,
and can be told to fail, to cancel, to supersede, to ask for a reconnect, to go away and come back
at the same address. It is never cleverer than the contract. A test waits with `until` for what it
expects, and never for time.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
import uuid
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from warmpool.common.v1 import types_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb
from warmpool.provisioner.v1.provisioner_pb2_grpc import (
    ProvisionerServiceServicer,
    add_ProvisionerServiceServicer_to_server,
)

__all__ = ["FakeJob", "FakeReconciler", "fake_reconciler", "pack_template"]

_PATIENCE_SECONDS = 30.0
_CHUNK_BYTES = 256 * 1024
End = pb.CompleteJobRequest | pb.FailJobRequest | pb.ReleaseJobRequest
_Context = grpc.aio.ServicerContext[Any, Any]


def pack_template(files: Mapping[str, str]) -> bytes:
    """A template's archive."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return target.getvalue()


@dataclass(slots=True, kw_only=True)
class FakeJob:
    """A job and everything that was ever said about it. `attempt` is the live one."""

    message: pb.AcquiredJob
    archive: bytes
    tfstate: bytes | None
    attempt: int = 1
    cancel: bool = False
    cancel_forced: bool = False
    heartbeats: Counter[int] = field(default_factory=Counter[int])
    lines: list[types_pb2.LogLine] = field(default_factory=list[types_pb2.LogLine])
    batches: list[int] = field(default_factory=list[int])
    uploads: list[bytes] = field(default_factory=list[bytes])
    ends: list[End] = field(default_factory=list[End])
    is_final: bool = False

    @property
    def job_id(self) -> str:
        """Its id."""
        return self.message.ref.job_id

    @property
    def texts(self) -> list[str]:
        """The log, in the order of its sequences, each line once."""
        return [line.text for line in {line.sequence: line for line in self.lines}.values()]

    @property
    def completed(self) -> pb.CompleteJobRequest | None:
        """How it ended well."""
        last = self.ends[-1] if self.ends else None
        return last if isinstance(last, pb.CompleteJobRequest) else None

    @property
    def failed(self) -> pb.FailJobRequest | None:
        """How it ended badly."""
        last = self.ends[-1] if self.ends else None
        return last if isinstance(last, pb.FailJobRequest) else None

    @property
    def released(self) -> pb.ReleaseJobRequest | None:
        """That it was handed back."""
        last = self.ends[-1] if self.ends else None
        return last if isinstance(last, pb.ReleaseJobRequest) else None


class FakeReconciler(ProvisionerServiceServicer):
    """The jobs, the streams and the faults. Made by `fake_reconciler`."""

    def __init__(self) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.registered: list[pb.RegisterWorker] = []
        self.wants: list[int] = []
        self.calls: Counter[str] = Counter()
        self.address = ""
        self.heartbeat_seconds = 0.05
        self.hung_seconds = 0.0
        self.streams_open = 0
        self.tokens: set[str] = set()
        self.requeue_released = False
        self._available: deque[str] = deque()
        self._faults: dict[str, deque[grpc.StatusCode]] = {}
        self._changed = asyncio.Condition()
        self._nudges: set[asyncio.Task[None]] = set()
        self._reconnects = 0
        self._reconnect_after_ms = 0
        self._server: grpc.aio.Server | None = None

    def post(
        self,
        *,
        files: Mapping[str, str] | None = None,
        tfstate: bytes | None = None,
        provisioner_type: str = "fake",
        template_import: pb.TemplateImportJob | None = None,
        template_dry_run: pb.TemplateDryRunJob | None = None,
        workspace_build: pb.WorkspaceBuildJob | None = None,
    ) -> FakeJob:
        """Puts a job into the queue; a build of a new workspace if nothing is said."""
        archive = pack_template(files or {"main.tf": "# empty\n"})
        if template_import is None and template_dry_run is None and workspace_build is None:
            workspace_build = pb.WorkspaceBuildJob(
                build_id=str(uuid.uuid4()),
                workspace_id=str(uuid.uuid4()),
                workspace_name="one",
                transition=types_pb2.TRANSITION_START,
                owner=pb.Owner(id=str(uuid.uuid4()), username="ada"),
                template_name="example",
                version_name="v1",
                organization_name="default",
                access_url="http://127.0.0.1:7443",
            )
        job = FakeJob(
            message=pb.AcquiredJob(
                ref=pb.JobRef(job_id=str(uuid.uuid4()), attempt=1),
                provisioner_type=provisioner_type,
                heartbeat_seconds=self.heartbeat_seconds,
                hung_seconds=self.hung_seconds,
                template_version_id=str(uuid.uuid4()),
                archive_sha256=hashlib.sha256(archive).hexdigest(),
                template_import=template_import,
                template_dry_run=template_dry_run,
                workspace_build=workspace_build,
            ),
            archive=archive,
            tfstate=tfstate,
        )
        self.jobs[job.job_id] = job
        self.offer(job)
        return job

    def offer(self, job: FakeJob) -> None:
        """Puts the live attempt of a job into the queue."""
        job.message.ref.attempt = job.attempt
        self._available.append(job.job_id)
        self._nudge()

    def take(self, job: FakeJob) -> None:
        """Takes a job out of the queue, as if a worker had got it."""
        self._available.remove(job.job_id)

    def supersede(self, job: FakeJob) -> None:
        """Ends the live attempt; the job is not offered again by this."""
        job.attempt += 1

    def fail_next(self, method: str, code: grpc.StatusCode, *, times: int = 1) -> None:
        """The next calls of a method fail."""
        self._faults.setdefault(method, deque()).extend([code] * times)

    def ask_reconnect(self, after_ms: int = 0) -> None:
        """Asks every stream that is open now to dial again."""
        self._reconnect_after_ms = after_ms
        self._reconnects += 1
        self._nudge()

    async def until(self, predicate: Callable[[], object]) -> None:
        """Waits until something that was said makes the predicate true."""
        async with asyncio.timeout(_PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: bool(predicate()))

    async def start(self) -> None:
        """Listens; at the address it had before, if it had one."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_ProvisionerServiceServicer_to_server(self, server)
        port = server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Goes away at once."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def AcquireJobs(
        self, request_iterator: AsyncIterator[pb.AcquireJobsRequest], context: _Context
    ) -> AsyncIterator[pb.AcquireJobsResponse]:
        await self._enter("AcquireJobs", context)
        wanted = 0
        seen = self._reconnects
        first = await anext(request_iterator)
        self.registered.append(first.register)
        self._nudge()

        async def read() -> None:
            nonlocal wanted
            async for request in request_iterator:
                wanted += request.want.count
                self.wants.append(request.want.count)
                self._nudge()
            self._nudge()

        def has_news() -> bool:
            has_job = wanted > 0 and bool(self._available)
            return has_job or self._reconnects > seen or reader.done()

        yield pb.AcquireJobsResponse(keep_alive=pb.KeepAlive())
        reader = asyncio.create_task(read())
        reader.add_done_callback(lambda _: self._nudge())
        self.streams_open += 1
        try:
            while not reader.done():
                async with self._changed:
                    await self._changed.wait_for(has_news)
                if self._reconnects > seen:
                    yield pb.AcquireJobsResponse(
                        reconnect=pb.Reconnect(after_ms=self._reconnect_after_ms)
                    )
                    return
                if wanted and self._available:
                    wanted -= 1
                    job = self.jobs[self._available.popleft()]
                    message = pb.AcquiredJob()
                    message.CopyFrom(job.message)
                    yield pb.AcquireJobsResponse(job=message)
        finally:
            reader.cancel()
            self.streams_open -= 1
            self._nudge()

    async def Heartbeat(
        self, request: pb.HeartbeatRequest, context: _Context
    ) -> pb.HeartbeatResponse:
        job = await self._find("Heartbeat", request.ref, context)
        job.heartbeats[request.ref.attempt] += 1
        self._log(job, list(request.lines))
        return pb.HeartbeatResponse(cancel=job.cancel, cancel_forced=job.cancel_forced)

    async def DownloadTemplate(
        self, request: pb.DownloadTemplateRequest, context: _Context
    ) -> AsyncIterator[pb.DownloadTemplateResponse]:
        job = await self._find("DownloadTemplate", request.ref, context)
        for start in range(0, len(job.archive), _CHUNK_BYTES):
            yield pb.DownloadTemplateResponse(chunk=job.archive[start : start + _CHUNK_BYTES])

    async def DownloadState(
        self, request: pb.DownloadStateRequest, context: _Context
    ) -> AsyncIterator[pb.DownloadStateResponse]:
        job = await self._find("DownloadState", request.ref, context)
        for start in range(0, len(job.tfstate or b""), _CHUNK_BYTES):
            assert job.tfstate is not None
            yield pb.DownloadStateResponse(chunk=job.tfstate[start : start + _CHUNK_BYTES])

    async def UploadState(
        self, request_iterator: AsyncIterator[pb.UploadStateRequest], context: _Context
    ) -> pb.UploadStateResponse:
        first = await anext(request_iterator)
        chunks = [first.chunk]
        chunks += [request.chunk async for request in request_iterator]
        job = await self._find("UploadState", first.ref, context)
        assert max(len(chunk) for chunk in chunks) <= 1024 * 1024
        job.uploads.append(b"".join(chunks))
        job.tfstate = job.uploads[-1]
        self._nudge()
        return pb.UploadStateResponse(size_bytes=len(job.uploads[-1]))

    async def CompleteJob(
        self, request: pb.CompleteJobRequest, context: _Context
    ) -> pb.CompleteJobResponse:
        await self._end("CompleteJob", request, context)
        return pb.CompleteJobResponse()

    async def FailJob(self, request: pb.FailJobRequest, context: _Context) -> pb.FailJobResponse:
        await self._end("FailJob", request, context)
        return pb.FailJobResponse()

    async def ReleaseJob(
        self, request: pb.ReleaseJobRequest, context: _Context
    ) -> pb.ReleaseJobResponse:
        job = await self._find("ReleaseJob", request.ref, context)
        job.ends.append(request)
        job.attempt += 1
        if self.requeue_released:
            self.offer(job)
        self._nudge()
        return pb.ReleaseJobResponse()

    async def _end(
        self, method: str, request: pb.CompleteJobRequest | pb.FailJobRequest, context: _Context
    ) -> None:
        job = await self._find(method, request.ref, context, or_final=True)
        if not job.is_final:
            self._log(job, list(request.lines))
            job.ends.append(request)
            job.is_final = True
        self._nudge()

    def _log(self, job: FakeJob, lines: list[types_pb2.LogLine]) -> None:
        job.batches.append(len(lines))
        job.lines += lines
        self._nudge()

    async def _enter(self, method: str, context: _Context) -> None:
        self.calls[method] += 1
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                self.tokens.add(str(value).removeprefix("Bearer "))
        self._nudge()
        faults = self._faults.get(method)
        if faults:
            await context.abort(faults.popleft(), "told to fail")

    async def _find(
        self, method: str, ref: pb.JobRef, context: _Context, *, or_final: bool = False
    ) -> FakeJob:
        await self._enter(method, context)
        job = self.jobs.get(ref.job_id)
        if job is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such job")
        assert job is not None
        if ref.attempt != job.attempt or (job.is_final and not or_final):
            await context.abort(grpc.StatusCode.ABORTED, "another attempt holds the job")
        return job

    def _nudge(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.get_running_loop().create_task(notify())
        self._nudges.add(task)
        task.add_done_callback(self._nudges.discard)


@asynccontextmanager
async def fake_reconciler() -> AsyncGenerator[FakeReconciler]:
    """One that listens on a port of its own until the block is left."""
    fake = FakeReconciler()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
