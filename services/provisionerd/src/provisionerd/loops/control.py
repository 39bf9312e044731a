"""Who wants one job to stop, and how; and waiting with an open ear."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from provisionerd.core.jobs import HeartbeatAnswer
from provisionerd.core.provisioner import Cancel

__all__ = ["JobControl", "pause", "wait_any"]


class JobControl:
    """The switches of one attempt. They only ever go from off to on."""

    def __init__(self) -> None:
        self.cancel = Cancel()
        self.arrived = asyncio.Event()  # the control plane knows that we have the job
        self.stopping = asyncio.Event()  # somebody wants it to stop, whoever it is
        self.superseded = asyncio.Event()
        self.ended = asyncio.Event()  # nothing of it runs any more
        self.is_started = False  # the provisioner has been called
        self.is_canceled = False
        self.is_draining = False
        self.is_cut_off = False

    def follow(self, answer: HeartbeatAnswer) -> None:
        """Does what a heartbeat brought back."""
        if answer.cancel or answer.cancel_forced:
            self.is_canceled = True
            self._stop(forced=answer.cancel_forced)

    def supersede(self) -> None:
        """The attempt is over: stop by force, say nothing."""
        self.superseded.set()
        self._stop(forced=True)

    def drain(self, *, forced: bool) -> None:
        """This worker goes away."""
        self.is_draining = True
        self._stop(forced=forced)

    def cut_off(self, *, forced: bool) -> None:
        """The control plane is out of reach and may soon settle the job without us."""
        self.is_cut_off = True
        self._stop(forced=forced)

    def _stop(self, *, forced: bool) -> None:
        self.stopping.set()
        self.cancel.graceful.set()
        if forced:
            self.cancel.forced.set()


async def pause(seconds: float, waker: asyncio.Event) -> None:
    """Waits for a time, or until the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waker.wait()


async def wait_any(*events: asyncio.Event) -> None:
    """Waits until one of the events is set."""
    if any(event.is_set() for event in events):
        return
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
