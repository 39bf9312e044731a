"""Hints on their way to the bus: one at a time of those that mean the same."""

from __future__ import annotations

import asyncio
from uuid import UUID

from bus.memory import MemoryBus
from bus.subjects import (
    JOBS_POSTED_ALL,
    POOLS_CHANGED_ALL,
    WORKSPACES_CHANGED_ALL,
    jobs_posted_subject,
    pools_changed_subject,
    workspaces_changed_subject,
)
from reconciler.loops.hints import BusHints

ORGANIZATION, PRESET, WORKSPACE = UUID(int=1), UUID(int=2), UUID(int=3)


async def test_hints_that_mean_the_same_are_said_once_and_again_when_said() -> None:
    bus = MemoryBus()
    hints = BusHints(bus)
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(subject: str, ready: asyncio.Event) -> None:
        async with bus.subscribe(subject) as subscription:
            ready.set()
            async for message in subscription:
                heard.put_nowait(message.subject)

    async with asyncio.TaskGroup() as tasks:
        running: list[asyncio.Task[None]] = []
        for subject in (JOBS_POSTED_ALL, POOLS_CHANGED_ALL, WORKSPACES_CHANGED_ALL):
            ready = asyncio.Event()
            running.append(tasks.create_task(listen(subject, ready)))
            await ready.wait()
        for number in range(3):
            hints.job_posted(ORGANIZATION, UUID(int=number), "terraform")
            hints.pool_changed(PRESET, "claimed")
        hints.job_posted(ORGANIZATION, UUID(int=9), "process")
        hints.workspace_changed(WORKSPACE)
        running.append(tasks.create_task(hints.run()))
        first = sorted([await heard.get() for _ in range(4)])
        hints.pool_changed(PRESET, "claimed")
        again = await heard.get()
        for task in running:
            task.cancel()
    jobs, pool = jobs_posted_subject(ORGANIZATION), pools_changed_subject(PRESET)
    assert first == sorted([jobs, jobs, pool, workspaces_changed_subject(WORKSPACE)])
    assert again == pool
    assert heard.empty()
