"""How loops wait: backoff, nudges."""

from __future__ import annotations

import asyncio

import pytest

from svckit.backoff import Backoff
from svckit.nudge import Nudge


class Dice:
    """Rolls what it was given."""

    def __init__(self, *rolls: float) -> None:
        self._rolls = iter(rolls)

    def random(self) -> float:
        return next(self._rolls)


def test_the_ceiling_doubles_up_to_its_maximum_and_the_delay_is_below_it() -> None:
    backoff = Backoff(1.0, 5.0, Dice(0.5, 0.5, 0.5, 0.5, 0.0, 0.999))

    assert [backoff.next() for _ in range(6)] == [0.5, 1.0, 2.0, 2.5, 0.0, 0.999 * 5]


def test_a_success_starts_anew() -> None:
    backoff = Backoff(1.0, 60.0, Dice(0.5, 0.5, 0.5))
    before = [backoff.next(), backoff.next()]

    backoff.reset()

    assert [*before, backoff.next()] == [0.5, 1.0, 0.5]


@pytest.mark.parametrize(("initial", "maximum"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_a_senseless_range_is_refused(initial: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="allowed is 0 < initial_seconds <= maximum_seconds"):
        Backoff(initial, maximum, Dice())


async def test_nudges_coalesce_and_one_before_the_wait_is_kept() -> None:
    nudge = Nudge()
    nudge.set()
    nudge.set()

    assert [await nudge.wait(5.0), await nudge.wait(0.0)] == [True, False]


async def test_a_nudge_wakes_who_waits() -> None:
    nudge = Nudge()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(nudge.wait(5.0))
        await asyncio.sleep(0)
        nudge.set()

    assert waiting.result() is True


async def test_a_kept_nudge_is_seen_even_without_time_to_wait() -> None:
    nudge = Nudge()
    nudge.set()

    assert await nudge.wait(0.0)
