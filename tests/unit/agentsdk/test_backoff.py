"""Waits grow up to their maximum, are jittered in full, and start small again."""

from __future__ import annotations

from agentsdk.backoff import Backoff, Backoffs
from agentsdk.core import Pace
from agentsdk.limits import AgentLimits


class Dice:
    """Always throws the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def test_waits_double_up_to_the_maximum() -> None:
    backoff = Backoff(initial_seconds=1.0, maximum_seconds=10.0, entropy=Dice(0.5))
    assert [backoff.next() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 0.5


def test_jitter_is_full() -> None:
    backoff = Backoff(initial_seconds=1.0, maximum_seconds=10.0, entropy=Dice(0.0))
    assert [backoff.next() for _ in range(3)] == [0.0, 0.0, 0.0]


def test_a_thousand_failures_still_wait_the_maximum() -> None:
    backoff = Backoff(initial_seconds=0.5, maximum_seconds=10.0, entropy=Dice(0.5))
    assert [backoff.next() for _ in range(5_000)][-1] == 5.0


def test_a_change_of_pace_starts_small_again() -> None:
    limits = AgentLimits(
        fast_initial_seconds=1.0,
        fast_maximum_seconds=8.0,
        slow_initial_seconds=10.0,
        slow_maximum_seconds=80.0,
    )
    backoffs = Backoffs(limits, Dice(0.5))
    paces = [Pace.FAST, Pace.FAST, Pace.SLOW, Pace.SLOW, Pace.FAST, Pace.SLOW]
    assert [backoffs.next(pace) for pace in paces] == [0.5, 1.0, 5.0, 10.0, 0.5, 5.0]
