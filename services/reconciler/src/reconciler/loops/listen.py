"""Hears the hints of other replicas and lets this one look."""

from __future__ import annotations

import asyncio
from uuid import UUID

from bus.api import Bus
from bus.errors import BusError, EventInvalid
from bus.events import decode_workspace_changed
from bus.subjects import JOBS_POSTED_ALL, POOLS_CHANGED_ALL, WORKSPACES_CHANGED_ALL
from reconciler.loops.hints import BusHints
from svckit.log import get_logger
from svckit.system import Clock

__all__ = ["listen"]

LOG = get_logger(__name__)
RETRY_SECONDS = 1.0


async def listen(bus: Bus, hints: BusHints, clock: Clock) -> None:
    """Turns hints from the bus into nudges, forever."""
    while True:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_on_jobs(bus, hints))
                tasks.create_task(_on_pools(bus, hints))
                tasks.create_task(_on_workspaces(bus, hints))
        except* BusError as errors:
            LOG.warning("hints are not heard", error=errors)
        await clock.sleep(RETRY_SECONDS)


async def _on_jobs(bus: Bus, hints: BusHints) -> None:
    async with bus.subscribe(JOBS_POSTED_ALL) as subscription:
        async for _ in subscription:
            hints.wake_workers()


async def _on_pools(bus: Bus, hints: BusHints) -> None:
    async with bus.subscribe(POOLS_CHANGED_ALL) as subscription:
        async for _ in subscription:
            hints.wake_pool()


async def _on_workspaces(bus: Bus, hints: BusHints) -> None:
    async with bus.subscribe(WORKSPACES_CHANGED_ALL) as subscription:
        async for message in subscription:
            try:
                event = decode_workspace_changed(message.subject, message.payload)
                hints.wake_watchers(UUID(event.workspace_id))
            except (EventInvalid, ValueError):
                LOG.debug("a hint could not be read", subject=message.subject)
