"""Virtual time: hours pass at once, in order, and a deadlock is told."""

from __future__ import annotations

import asyncio

import pytest

from testkit.virtualtime import Deadlock, run_virtual, virtual_time


@virtual_time
async def test_sleepers_wake_in_order_of_their_time() -> None:
    woken: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, round(loop.time(), 3)))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("day", 86_400 * 1.5))
        group.create_task(sleep("hour", 3_600))
        group.create_task(sleep("moment", 0.001))
    assert woken == [("moment", 0.001), ("hour", 3_600.0), ("day", 129_600.0)]


@virtual_time
async def test_a_timeout_ends_a_wait_at_its_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(600):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == pytest.approx(600)


@virtual_time
async def test_time_stands_still_while_something_can_run() -> None:
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert asyncio.get_running_loop().time() == 0


async def wait_for_nobody() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait(), name="lonely")
        await asyncio.sleep(5)


def test_a_deadlock_names_who_waits() -> None:
    with pytest.raises(Deadlock, match=r"lonely \(Event.wait\)"):
        run_virtual(wait_for_nobody())


def test_the_result_comes_out() -> None:
    async def main() -> int:
        await asyncio.sleep(1e9)
        return 7

    assert run_virtual(main()) == 7
