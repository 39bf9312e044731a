"""The control plane, as the loops need it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from provisionerd.core.jobs import (
    Completion,
    HeartbeatAnswer,
    JobFailure,
    JobRef,
    LogLine,
    Offer,
    Worker,
)

__all__ = ["ControlPlane", "OfferStream"]


class OfferStream(Protocol):
    """An acquire stream on which the worker has introduced itself."""

    async def registered(self, *, timeout_seconds: float) -> None:
        """Waits until the control plane has answered."""
        ...

    async def want(self, count: int) -> None:
        """Asks for more jobs."""
        ...

    async def next_offer(self, *, timeout_seconds: float) -> Offer | None:
        """The next message; None when the stream has been ended in good order."""
        ...

    async def stop_wanting(self) -> None:
        """Nothing more will be asked."""
        ...


class ControlPlane(Protocol):
    """All calls of a worker. Failures are `ControlPlaneError`s."""

    def acquire_stream(self, worker: Worker) -> AbstractAsyncContextManager[OfferStream]:
        """Dials and introduces the worker."""
        ...

    async def heartbeat(
        self, ref: JobRef, lines: Sequence[LogLine], *, timeout_seconds: float
    ) -> HeartbeatAnswer:
        """A sign of life with log lines."""
        ...

    def download_template(self, ref: JobRef) -> AsyncGenerator[bytes]:
        """The archive, part by part."""
        ...

    async def download_state(self, ref: JobRef) -> bytes | None:
        """The tfstate to start from."""
        ...

    async def upload_state(self, ref: JobRef, tfstate: bytes) -> None:
        """Stores a tfstate."""
        ...

    async def complete(self, ref: JobRef, completion: Completion, lines: Sequence[LogLine]) -> None:
        """Ends a job well."""
        ...

    async def fail(self, ref: JobRef, failure: JobFailure, lines: Sequence[LogLine]) -> None:
        """Ends a job with an error."""
        ...

    async def release(self, ref: JobRef, reason: str) -> None:
        """Hands a job back."""
        ...
