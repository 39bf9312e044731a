"""Tidies up after a process that was ended by force.

Promises: what it left running is ended before anything else; a tfstate it had not sent is offered
to the control plane, which takes it if the attempt is still the live one, and is set aside if it
does not; its jobs are handed back, so that nobody waits for their silence to be noticed; its
directories are wiped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from provisionerd.core.errors import (
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    JobSuperseded,
)
from provisionerd.loops.control_plane import ControlPlane
from provisionerd.store.jobdirs import JobDir, JobDirs
from provisionerd.store.orphans import end_orphans
from svckit.backoff import Backoff
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["Rescue"]

_LOG = get_logger(__name__)
_REASON = "the worker was restarted"


class Rescue:
    """Runs once, at the start of a process."""

    def __init__(
        self,
        plane: ControlPlane,
        dirs: JobDirs,
        programs: frozenset[str],
        salvage: Callable[[Path], bytes | None],
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._plane = plane
        self._dirs = dirs
        self._programs = programs
        self._salvage = salvage
        self._clock = clock
        self._backoff = Backoff(0.2, 10.0, entropy)

    async def prepare(self) -> tuple[JobDir, ...]:
        """Ends what still runs, before any new job may start; returns what is left to tell."""
        leftovers = await asyncio.to_thread(self._dirs.list_leftovers)
        for job_dir in leftovers:
            is_whole = partial(self._has_tfstate, job_dir)
            count = await asyncio.to_thread(end_orphans, job_dir.root, self._programs, is_whole)
            _LOG.warning(
                "a job was left behind by an earlier process",
                action="rescue",
                job_id=str(job_dir.ref.job_id),
                attempt=job_dir.ref.attempt,
                count=count,
            )
        return leftovers

    async def run(self, leftovers: tuple[JobDir, ...]) -> None:
        """Tells the control plane, for as long as it takes."""
        for job_dir in leftovers:
            await self._rescue(job_dir)
            await asyncio.to_thread(self._dirs.remove, job_dir)

    async def _rescue(self, job_dir: JobDir) -> None:
        tfstate = await asyncio.to_thread(self._find_newest, job_dir)
        try:
            if tfstate is not None:
                await self._insist(lambda: self._plane.upload_state(job_dir.ref, tfstate))
                await asyncio.to_thread(job_dir.clear_unsent)
            await self._insist(lambda: self._plane.release(job_dir.ref, _REASON))
        except (ControlPlaneRefused, JobSuperseded) as error:
            # another attempt may have taken over, and still know less of what was made
            path = await asyncio.to_thread(job_dir.set_aside)
            if path is None and isinstance(error, JobSuperseded):
                return
            _LOG.error(
                "the control plane refused what an earlier process left",
                action="rescue",
                job_id=str(job_dir.ref.job_id),
                attempt=job_dir.ref.attempt,
                code=error.code,
                path="" if path is None else str(path),
                error=error,
            )

    def _has_tfstate(self, job_dir: JobDir) -> bool:
        return self._salvage(job_dir.work_dir) is not None

    def _find_newest(self, job_dir: JobDir) -> bytes | None:
        found = self._salvage(job_dir.work_dir)
        if found is None:
            return job_dir.read_unsent()
        job_dir.write_unsent(found)  # written by the provisioner's own command: never older
        return found

    async def _insist(self, call: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await call()
            except ControlPlaneUnavailable:
                await self._clock.sleep(self._backoff.next())
            else:
                self._backoff.reset()
                return
