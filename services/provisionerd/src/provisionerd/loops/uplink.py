"""Brings a job's tfstate to the control plane, however long that takes.

Promises: `keep` returns as soon as the tfstate is safe on this machine's disk, so that no
provisioner fails because the control plane is away; the newest one is sent, and sent again, until
it is stored, refused, or the attempt is over; a job is reported only after that (`settle`). If
this process ends first, the file stays, and the next process sends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from provisionerd.core.errors import ControlPlaneRefused, ControlPlaneUnavailable, JobSuperseded
from provisionerd.loops.control import JobControl, pause, wait_any
from provisionerd.loops.control_plane import ControlPlane
from provisionerd.store.jobdirs import JobDir
from svckit.backoff import Backoff
from svckit.log import get_logger
from svckit.system import Entropy

__all__ = ["TfstateUplink"]

_LOG = get_logger(__name__)


class TfstateUplink:
    """The tfstate of one job."""

    def __init__(
        self, plane: ControlPlane, job_dir: JobDir, control: JobControl, *, entropy: Entropy
    ) -> None:
        self._plane = plane
        self._job_dir = job_dir
        self._control = control
        self._backoff = Backoff(0.2, 10.0, entropy)
        self._newest: bytes = b""
        self._kept_count = 0
        self._settled_count = 0
        self._refusal: ControlPlaneRefused | None = None
        self._file = asyncio.Lock()
        self._kept = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def has_unsent(self) -> bool:
        """Whether a tfstate is here that the control plane has neither taken nor refused."""
        return self._settled_count < self._kept_count

    async def keep(self, tfstate: bytes) -> None:
        """Takes a newer tfstate; it is on disk when this returns."""
        async with self._file:
            await _to_the_end(lambda: self._job_dir.write_unsent(tfstate))
            self._newest = tfstate
            self._kept_count += 1
            self._settled.clear()
        self._kept.set()

    async def settle(self) -> ControlPlaneRefused | None:
        """Waits until the newest tfstate is stored, refused or nobody's business any more; returns
        the refusal, if it was that.
        """
        await wait_any(self._settled, self._control.superseded)
        return self._refusal

    async def run(self) -> None:
        """Sends what is kept, until the attempt is over."""
        while not self._control.superseded.is_set():
            await self._kept.wait()
            self._kept.clear()
            while self._settled_count < self._kept_count and not self._control.superseded.is_set():
                await self._send_newest()
        self._settled.set()

    async def _send_newest(self) -> None:
        number = self._kept_count
        try:
            await self._plane.upload_state(self._job_dir.ref, self._newest)
        except JobSuperseded:
            self._control.supersede()
            self._settled.set()
            return
        except ControlPlaneUnavailable as error:
            _LOG.warning(
                "a tfstate could not be sent; repeating it",
                action="upload_state",
                job_id=str(self._job_dir.ref.job_id),
                attempt=self._job_dir.ref.attempt,
                code=error.code,
                error=error,
            )
            await pause(self._backoff.next(), self._control.superseded)
            return
        except ControlPlaneRefused as error:
            self._refusal = error
        else:
            self._refusal = None
            self._backoff.reset()
            async with self._file:
                if number == self._kept_count:
                    await _to_the_end(self._job_dir.clear_unsent)
        self._settled_count = number
        if number == self._kept_count:
            self._settled.set()


async def _to_the_end(work: Callable[[], None]) -> None:
    """Does it in a thread, which nobody can cancel: who is cancelled waits for it, so that it does
    not get in the way of what is written next.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
