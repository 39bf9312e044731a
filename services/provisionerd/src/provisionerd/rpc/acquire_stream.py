"""One acquire stream: offers come down, wants go up.

Promises: once `next_offer` has returned the worker is registered; a stream that falls silent for
longer than it may, or is ended by anyone, raises `ControlPlaneUnavailable` or returns None; leaving
the block cancels it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc.aio

from provisionerd.core.errors import ControlPlaneError, ControlPlaneUnavailable
from provisionerd.core.jobs import Offer, Worker
from provisionerd.rpc.failures import explaining_failures
from provisionerd.wire.decode import decode_offer
from provisionerd.wire.encode import encode_register, encode_want
from warmpool.provisioner.v1 import provisioner_pb2 as pb
from warmpool.provisioner.v1.provisioner_pb2_grpc import ProvisionerServiceStub

__all__ = ["AcquireStream", "open_acquire_stream"]

_Call = grpc.aio.StreamStreamCall[pb.AcquireJobsRequest, pb.AcquireJobsResponse]
_WRITE_SECONDS = 15.0


class AcquireStream:
    """Made by `open_acquire_stream`. One reader and one writer at a time."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    async def registered(self, *, timeout_seconds: float) -> None:
        """Waits until the control plane has answered the call."""
        try:
            with explaining_failures():
                async with asyncio.timeout(timeout_seconds):
                    await self._call.initial_metadata()
                    if self._call.done():
                        await self._raise_end()
        except TimeoutError:
            raise ControlPlaneUnavailable(
                "DEADLINE_EXCEEDED", f"no answer within {timeout_seconds:.0f} s"
            ) from None

    async def want(self, count: int) -> None:
        """Asks for more jobs."""
        await self._write(encode_want(count))

    async def next_offer(self, *, timeout_seconds: float) -> Offer | None:
        """The next message; None when the control plane has ended the stream."""
        try:
            with explaining_failures():
                async with asyncio.timeout(timeout_seconds):
                    response = await self._call.read()
        except TimeoutError:
            raise ControlPlaneUnavailable(
                "DEADLINE_EXCEEDED", f"the acquire stream was silent for {timeout_seconds:.0f} s"
            ) from None
        if not isinstance(response, pb.AcquireJobsResponse):
            return None
        return decode_offer(response)

    async def stop_wanting(self) -> None:
        """Says that nothing more will be asked; jobs already on their way still come."""
        try:
            with explaining_failures():
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._call.done_writing()
        except (ControlPlaneError, asyncio.InvalidStateError, TimeoutError):
            return  # the stream has ended by itself, which is what was wanted

    async def register(self, worker: Worker) -> None:
        """The first message."""
        await self._write(encode_register(worker))

    async def _write(self, request: pb.AcquireJobsRequest) -> None:
        try:
            with explaining_failures():
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._call.write(request)
        except TimeoutError:
            raise ControlPlaneUnavailable(
                "DEADLINE_EXCEEDED", f"the acquire stream took nothing for {_WRITE_SECONDS:.0f} s"
            ) from None
        except asyncio.InvalidStateError:
            await self._raise_end()

    async def _raise_end(self) -> None:
        code = await self._call.code()
        raise ControlPlaneUnavailable(code.name, await self._call.details() or "stream ended")


@asynccontextmanager
async def open_acquire_stream(
    stub: ProvisionerServiceStub, worker: Worker
) -> AsyncGenerator[AcquireStream]:
    """Dials and registers."""
    call = stub.AcquireJobs(wait_for_ready=True)
    try:
        stream = AcquireStream(call)
        await stream.register(worker)
        yield stream
    finally:
        call.cancel()
