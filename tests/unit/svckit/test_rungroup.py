"""Run groups: loops live as long as the body, and none of them dies unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from svckit.errors import StartFailed
from svckit.rungroup import LoopEnded, RunGroup, run_service


async def forever() -> None:
    await asyncio.Event().wait()


async def live_forever_with(**loops: Callable[[], Awaitable[None]]) -> None:
    """A body that never ends, with these loops."""
    async with RunGroup() as group:
        for name, loop in loops.items():
            group.start(name, loop)
        await forever()


async def test_loops_are_cancelled_after_the_body_and_before_what_they_use() -> None:
    story: list[str] = []

    async def loop() -> None:
        try:
            await forever()
        finally:
            story.append("loop ends")

    async with RunGroup() as group:
        group.start("loop", loop)
        await asyncio.sleep(0)
        story.append("body ends")
    story.append("what it used closes")

    assert story == ["body ends", "loop ends", "what it used closes"]


async def test_a_loop_that_returns_cancels_the_body_and_is_named() -> None:
    async def returns() -> None:
        await asyncio.sleep(0)

    with pytest.raises(ExceptionGroup) as caught:
        await live_forever_with(short=returns)

    [failure] = caught.value.exceptions
    assert (type(failure), str(failure)) == (LoopEnded, "the loop short returned by itself")


async def test_a_loop_that_a_cancellation_of_nobodys_ends_is_named() -> None:
    """As a call raises it whose channel was closed."""

    async def loses_its_call() -> None:
        call = asyncio.get_running_loop().create_future()
        call.cancel()
        await call

    with pytest.raises(ExceptionGroup) as caught:
        await live_forever_with(lost=loses_its_call)

    [failure] = caught.value.exceptions
    assert repr(failure) == "LoopEnded('the loop lost was cancelled by nobody')"


async def test_a_loop_may_return_once_the_service_stops() -> None:
    async with RunGroup() as group:

        async def polite() -> None:
            await group.stopping.wait()

        group.start("polite", polite)
        group.stopping.set()
        for _ in range(5):  # turns enough for the loop to return
            await asyncio.sleep(0)


async def test_a_loop_that_fails_cancels_the_body_and_the_others() -> None:
    story: list[str] = []

    async def other() -> None:
        try:
            await forever()
        finally:
            story.append("other ends")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("disk full")

    with pytest.raises(ExceptionGroup) as caught:
        await live_forever_with(other=other, fails=fails)

    assert [repr(failure) for failure in caught.value.exceptions] == ["OSError('disk full')"]
    assert story == ["other ends"]


@pytest.mark.parametrize(
    ("failure", "code"), [(None, 0), (StartFailed("no port"), 1), (OSError("disk full"), 1)]
)
async def test_the_exit_code_tells_how_it_went(failure: Exception | None, code: int) -> None:
    async def main(group: RunGroup) -> None:
        group.start("loop", forever)
        if failure is not None:
            raise failure

    assert await run_service("sample", main) == code
