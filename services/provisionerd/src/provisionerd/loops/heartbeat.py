"""Keeps one job alive in the eyes of the control plane, and learns from it what to do.

Promises: the first beat goes out at once; later ones every `heartbeat_seconds`, or sooner when a
log line batch has filled; a beat that fails is repeated with the same lines. An attempt that is
over is stopped by force at once. `guard` stops the job of a worker that is cut off before the
control plane, which hears nothing, may let another one work on the same workspace.
"""

from __future__ import annotations

from provisionerd.core.errors import ControlPlaneRefused, ControlPlaneUnavailable, JobSuperseded
from provisionerd.core.jobs import AcquiredJob
from provisionerd.loops.control import JobControl, pause
from provisionerd.loops.control_plane import ControlPlane
from provisionerd.loops.joblog import JobLog
from svckit.backoff import Backoff
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["Heartbeat"]

_LOG = get_logger(__name__)
_TIMEOUT_SECONDS_MIN = 10.0
# parts of the silence after which the control plane may settle the job: asked to stop, made to
# stop; the rest is for a command that must be ended by force
_GRACEFUL_AT = 0.6
_FORCED_AT = 0.85
_GAP_SECONDS_MIN = 0.1  # between beats that only carry lines


class Heartbeat:
    """The beats of one job."""

    def __init__(
        self,
        plane: ControlPlane,
        job: AcquiredJob,
        log: JobLog,
        control: JobControl,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._plane = plane
        self._job = job
        self._log = log
        self._control = control
        self._clock = clock
        self._heard_at = clock.monotonic()  # when the last beat that got through was sent
        self._backoff = Backoff(0.2, max(job.heartbeat_seconds, 1.0), entropy)

    async def run(self) -> None:
        """Beats until the attempt is over."""
        while not self._control.superseded.is_set():
            if await self.beat():
                gap = min(_GAP_SECONDS_MIN, self._job.heartbeat_seconds)
                await self._clock.sleep(gap)
                await pause(self._job.heartbeat_seconds - gap, self._log.filled)
            else:
                await self._clock.sleep(self._backoff.next())

    async def guard(self) -> None:
        """Stops the job in time if no beat gets through: gracefully first, then by force."""
        await self._wait_silent(self._job.hung_seconds * _GRACEFUL_AT)
        _LOG.error(
            "no heartbeat got through for long; stopping the job before another may begin it",
            action="guard",
            job_id=str(self._job.ref.job_id),
            attempt=self._job.ref.attempt,
        )
        self._control.cut_off(forced=False)
        await self._wait_silent(self._job.hung_seconds * _FORCED_AT)
        self._control.cut_off(forced=True)

    async def _wait_silent(self, seconds: float) -> None:
        while (left := self._heard_at + seconds - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)

    async def beat(self) -> bool:
        """One beat; whether it got through."""
        sent_at = self._clock.monotonic()
        try:
            async with self._log.batch() as lines:
                answer = await self._plane.heartbeat(
                    self._job.ref,
                    lines,
                    timeout_seconds=max(self._job.heartbeat_seconds, _TIMEOUT_SECONDS_MIN),
                )
        except JobSuperseded as error:
            if not self._control.superseded.is_set():
                _LOG.warning(
                    "the attempt is over; stopping its job",
                    action="superseded",
                    job_id=str(self._job.ref.job_id),
                    attempt=self._job.ref.attempt,
                    code=error.code,
                )
            self._control.supersede()
            return False
        except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
            _LOG.warning(
                "a heartbeat did not get through; repeating it",
                action="heartbeat",
                job_id=str(self._job.ref.job_id),
                attempt=self._job.ref.attempt,
                code=error.code,
                error=error,
            )
            if error.code == "INVALID_ARGUMENT":  # better without these lines than without a beat
                await self._log.drop_batch()
            return False
        self._backoff.reset()
        self._heard_at = max(self._heard_at, sent_at)
        self._control.arrived.set()
        self._control.follow(answer)
        return True
