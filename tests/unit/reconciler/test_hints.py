"""Hints on their way to the bus: one at a time of those that mean the same."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from bus.memory import MemoryBus
from bus.subjects import (
    JOBS_POSTED_ALL,
    POOLS_CHANGED_ALL,
    WORKSPACES_CHANGED_ALL,
    jobs_posted_subject,
    pools_changed_subject,
    workspaces_changed_subject,
)
from reconciler.loops.hints import LINGER_SECONDS, BusHints
from testkit.virtualtime import virtual_time

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


@virtual_time
async def test_the_steps_of_a_claim_are_one_message_and_a_job_waits_for_nobody() -> None:
    bus = MemoryBus()
    hints = BusHints(bus)
    now = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as tasks, bus.subscribe("warmpool.>") as heard:
        running = tasks.create_task(hints.run())
        # GIVEN what changes three times within a moment: nobody hears of it until it is over
        for _ in range(3):
            hints.workspace_changed(WORKSPACE)
            await asyncio.sleep(LINGER_SECONDS / 4)
        gathered = await anext(heard)
        assert gathered.subject == workspaces_changed_subject(str(WORKSPACE))
        assert now() == pytest.approx(LINGER_SECONDS)
        # WHEN a job is posted, it is said at once, and with it what was waiting
        hints.workspace_changed(WORKSPACE)
        await asyncio.sleep(LINGER_SECONDS / 4)
        posted_at = now()
        hints.job_posted(ORGANIZATION, UUID(int=1), "terraform")
        said = [(await anext(heard)).subject for _ in range(2)]
        assert said == [gathered.subject, jobs_posted_subject(str(ORGANIZATION))]
        assert now() == posted_at
        running.cancel()
