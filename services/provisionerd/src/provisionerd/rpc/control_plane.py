"""The control plane as a worker sees it, over gRPC.

Promises: every call has a deadline; every failure is one of `provisionerd.core.errors`' kinds of
`ControlPlaneError`; a stream that is left early is cancelled, because nothing else would end it.
Nothing here repeats a call: the loops know what is worth repeating, and for how long.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import grpc.aio

from provisionerd.core.errors import ControlPlaneRefused
from provisionerd.core.jobs import Completion, HeartbeatAnswer, JobFailure, JobRef, LogLine, Worker
from provisionerd.rpc.acquire_stream import AcquireStream, open_acquire_stream
from provisionerd.rpc.failures import explaining_failures
from provisionerd.wire.decode import decode_heartbeat_answer
from provisionerd.wire.encode import (
    encode_completion,
    encode_failure,
    encode_heartbeat,
    encode_ref,
    encode_state,
)
from warmpool.provisioner.v1 import provisioner_pb2 as pb
from warmpool.provisioner.v1.provisioner_pb2_grpc import ProvisionerServiceStub

__all__ = ["STATE_BYTES_MAX", "GrpcControlPlane"]

STATE_BYTES_MAX = 256 * 1024 * 1024
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_CALL_SECONDS = 30.0
_TRANSFER_SECONDS = 300.0  # 256 MiB at 1 MiB per second


class GrpcControlPlane:
    """All calls of one worker, over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ProvisionerServiceStub(channel)

    @asynccontextmanager
    async def acquire_stream(self, worker: Worker) -> AsyncGenerator[AcquireStream]:
        """An acquire stream on which the worker is registered."""
        async with open_acquire_stream(self._stub, worker) as stream:
            yield stream

    async def heartbeat(
        self, ref: JobRef, lines: Sequence[LogLine], *, timeout_seconds: float
    ) -> HeartbeatAnswer:
        """A sign of life with log lines; returns what to do."""
        with explaining_failures():
            response = await self._stub.Heartbeat(
                encode_heartbeat(ref, lines), timeout=timeout_seconds, wait_for_ready=True
            )
        return decode_heartbeat_answer(response)

    async def download_template(self, ref: JobRef) -> AsyncGenerator[bytes]:
        """The archive, part by part."""
        call = self._stub.DownloadTemplate(
            pb.DownloadTemplateRequest(ref=encode_ref(ref)),
            timeout=_TRANSFER_SECONDS,
            wait_for_ready=True,
        )
        async with aclosing(_read_all(call)) as responses:
            async for response in responses:
                yield response.chunk

    async def download_state(self, ref: JobRef) -> bytes | None:
        """The tfstate to start from, None if there is none."""
        call = self._stub.DownloadState(
            pb.DownloadStateRequest(ref=encode_ref(ref)),
            timeout=_TRANSFER_SECONDS,
            wait_for_ready=True,
        )
        parts: list[bytes] = []
        size = 0
        async with aclosing(_read_all(call)) as responses:
            async for response in responses:
                size += len(response.chunk)
                if size > STATE_BYTES_MAX:
                    raise ControlPlaneRefused(
                        "OUT_OF_RANGE", f"the tfstate is larger than {STATE_BYTES_MAX} bytes"
                    )
                parts.append(response.chunk)
        return b"".join(parts) or None

    async def upload_state(self, ref: JobRef, tfstate: bytes) -> None:
        """Stores a tfstate; returns when the control plane has it."""

        async def parts() -> AsyncIterator[pb.UploadStateRequest]:
            for part in encode_state(ref, tfstate):
                yield part

        with explaining_failures():
            response = await self._stub.UploadState(
                parts(), timeout=_TRANSFER_SECONDS, wait_for_ready=True
            )
        if response.size_bytes != len(tfstate):
            raise ControlPlaneRefused(
                "DATA_LOSS",
                f"{response.size_bytes} bytes of a tfstate of {len(tfstate)} bytes were stored",
            )

    async def complete(self, ref: JobRef, completion: Completion, lines: Sequence[LogLine]) -> None:
        """Ends a job well."""
        with explaining_failures():
            await self._stub.CompleteJob(
                encode_completion(ref, completion, lines),
                timeout=_CALL_SECONDS,
                wait_for_ready=True,
            )

    async def fail(self, ref: JobRef, failure: JobFailure, lines: Sequence[LogLine]) -> None:
        """Ends a job with an error."""
        with explaining_failures():
            await self._stub.FailJob(
                encode_failure(ref, failure, lines), timeout=_CALL_SECONDS, wait_for_ready=True
            )

    async def release(self, ref: JobRef, reason: str) -> None:
        """Hands a job back."""
        with explaining_failures():
            await self._stub.ReleaseJob(
                pb.ReleaseJobRequest(ref=encode_ref(ref), reason=reason),
                timeout=_CALL_SECONDS,
                wait_for_ready=True,
            )


async def _read_all(
    call: grpc.aio.UnaryStreamCall[_Request, _Response],
) -> AsyncGenerator[_Response]:
    try:
        with explaining_failures():
            async for response in call:
                yield response
    finally:
        call.cancel()
