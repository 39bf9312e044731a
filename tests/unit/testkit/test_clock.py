"""Test clocks: one that is moved by hand, one that follows its loop."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from testkit.clock import EPOCH, LoopClock, SettableClock
from testkit.virtualtime import virtual_time


@virtual_time
async def test_who_sleeps_wakes_when_the_clock_is_moved_past_it() -> None:
    clock = SettableClock()
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("late", 20))
        group.create_task(sleep("early", 10))
        cancelled = group.create_task(sleep("cancelled", 15))
        await asyncio.sleep(0)
        assert clock.sleeping == 3
        cancelled.cancel()
        clock.advance(9.5)
        await asyncio.sleep(0)
        assert (woken, clock.sleeping) == ([], 2)
        clock.advance(10.5)
    assert woken == ["early", "late"]
    assert (clock.now(), clock.monotonic()) == (EPOCH + timedelta(seconds=20), 20.0)


def test_setting_the_wall_clock_back_leaves_elapsed_time_alone() -> None:
    clock = SettableClock()
    clock.advance(60)
    clock.set(EPOCH - timedelta(hours=1))
    assert (clock.now(), clock.monotonic()) == (EPOCH - timedelta(hours=1), 60.0)
    with pytest.raises(ValueError, match="seconds is -1"):
        clock.advance(-1)


@virtual_time
async def test_the_loops_clock_follows_the_loop() -> None:
    clock = LoopClock()
    await clock.sleep(90)
    assert (clock.now(), clock.monotonic()) == (EPOCH + timedelta(seconds=90), 90.0)
