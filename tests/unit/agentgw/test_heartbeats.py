"""The wheel of heartbeats: everybody in time, nobody forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgw.core.heartbeats import HeartbeatPace, HeartbeatWheel


def test_who_is_due_is_taken_once_and_in_order() -> None:
    wheel = HeartbeatWheel(0.25)
    for key, at_seconds in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 9.0)):
        wheel.put(key, at_seconds=at_seconds)
    assert wheel.take_due(now_seconds=0.9) == []
    assert wheel.take_due(now_seconds=3.1) == [2, 3, 1]
    assert wheel.take_due(now_seconds=3.1) == []
    assert wheel.take_due(now_seconds=100.0) == [4]


@given(interval_seconds=st.floats(0.1, 300.0), start_seconds=st.floats(0.0, 1e6))
def test_a_heartbeat_comes_within_what_was_promised_and_not_much_earlier(
    interval_seconds: float, start_seconds: float
) -> None:
    pace = HeartbeatPace(interval_seconds)
    wheel = HeartbeatWheel(pace.slot_seconds)
    wheel.put(7, at_seconds=start_seconds + pace.steady_seconds)
    now_seconds = start_seconds
    while not wheel.take_due(now_seconds=now_seconds):
        now_seconds += pace.slot_seconds  # the loop's tick
    assert 0.6 * interval_seconds <= now_seconds - start_seconds <= interval_seconds + 1e-6


def test_those_who_came_at_once_are_spread_over_the_interval() -> None:
    pace = HeartbeatPace(40.0)
    seconds = [pace.spread_seconds(number / 100) for number in range(100)]
    assert (min(seconds), max(seconds)) == pytest.approx((7.8, 38.7), abs=0.1)


def test_the_first_frame_comes_within_a_second_however_rare_heartbeats_are() -> None:
    assert HeartbeatPace(300.0).first_seconds == 1.0
    assert HeartbeatPace(0.5).first_seconds == 0.5
