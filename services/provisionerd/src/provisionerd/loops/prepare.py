"""What a job needs before its provisioner can begin: files, tfstate, and the control plane's word.

Promises: the control plane has confirmed that the job is ours before anything is provisioned; what
fails for the moment is tried again until somebody wants the job to stop.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from provisionerd.core.errors import ControlPlaneUnavailable, ProvisionError
from provisionerd.core.jobs import AcquiredJob, BuildWork, RehearsalWork
from provisionerd.loops.control import JobControl
from provisionerd.loops.control_plane import ControlPlane
from provisionerd.store.templates import TemplateCache
from svckit.backoff import Backoff
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["Preparation", "Prepared"]

_LOG = get_logger(__name__)
_DAMAGED_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was fetched. `tfstate` is None if the job starts from none."""

    template_dir: Path
    tfstate: bytes | None = field(repr=False)


class _Stopped(Exception):
    """Somebody wants the job to stop."""


class Preparation:
    """Fetches for many jobs."""

    def __init__(
        self,
        plane: ControlPlane,
        templates: TemplateCache,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._plane = plane
        self._templates = templates
        self._clock = clock
        self._entropy = entropy

    async def fetch(
        self, job: AcquiredJob, control: JobControl, stack: AsyncExitStack
    ) -> Prepared | None:
        """Fetches what a job needs; None if it was asked to stop meanwhile. `stack` keeps the
        template in the cache for as long as the job lasts.
        """
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(_raise_when_stopping(control))
                tfstate = group.create_task(self._fetch_tfstate(job))
                template_dir = await self._fetch_template(job, stack)
                prepared = Prepared(template_dir=template_dir, tfstate=await tfstate)
                await control.arrived.wait()
                watcher.cancel()
        except ExceptionGroup as failures:
            if failures.subgroup(_Stopped) is not None:
                return None
            raise failures.exceptions[0] from None
        return prepared

    async def _fetch_template(self, job: AcquiredJob, stack: AsyncExitStack) -> Path:
        backoff = Backoff(0.2, 10.0, self._entropy)
        damaged_count = 0
        while True:
            template = self._templates.use(
                job.archive_sha256, lambda: self._plane.download_template(job.ref)
            )
            try:
                return await stack.enter_async_context(template)
            except ControlPlaneUnavailable as error:
                damaged_count += error.code == "DATA_LOSS"
                if damaged_count == _DAMAGED_MAX:
                    raise ProvisionError(
                        f"the template's archive arrived damaged {_DAMAGED_MAX} times",
                        retryable=True,
                    ) from error
                await self._wait(job, error, backoff)

    async def _fetch_tfstate(self, job: AcquiredJob) -> bytes | None:
        if not isinstance(job.work, BuildWork | RehearsalWork):
            return None
        backoff = Backoff(0.2, 10.0, self._entropy)
        while True:
            try:
                return await self._plane.download_state(job.ref)
            except ControlPlaneUnavailable as error:
                await self._wait(job, error, backoff)

    async def _wait(
        self, job: AcquiredJob, error: ControlPlaneUnavailable, backoff: Backoff
    ) -> None:
        _LOG.warning(
            "a download failed; repeating it",
            action="download",
            job_id=str(job.ref.job_id),
            attempt=job.ref.attempt,
            code=error.code,
            error=error,
        )
        await self._clock.sleep(error.retry_after_seconds or backoff.next())


async def _raise_when_stopping(control: JobControl) -> None:
    await control.stopping.wait()
    raise _Stopped
