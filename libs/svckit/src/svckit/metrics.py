"""The metrics of the chassis: their names, units and help, in one place."""

from __future__ import annotations

from collections import Counter
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

__all__ = ["CALLS", "CALL_DURATION", "SECONDS_BOUNDARIES", "CallCounts"]

SECONDS_BOUNDARIES = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""Histogram buckets for durations. The default ones put everything below 5 s into one."""

_meter = metrics.get_meter("svckit")


class CallCounts:
    """Calls by method: how many there were and how many are open. Plain numbers that are read when
    somebody asks: an instrument costs more at each call than the call's permission.
    """

    def __init__(self) -> None:
        """None so far."""
        self._started: Counter[str] = Counter()
        self._open: Counter[str] = Counter()

    def start(self, method: str) -> None:
        """A call reached its handler."""
        self._started[method] += 1
        self._open[method] += 1

    def end(self, method: str) -> None:
        """A call was handled."""
        self._open[method] -= 1

    def observe_started(self, _: CallbackOptions) -> list[Observation]:
        """Calls ever, by method."""
        return _observe(self._started)

    def observe_open(self, _: CallbackOptions) -> list[Observation]:
        """Calls now, by method."""
        return _observe(self._open)


def _observe(counts: Counter[str]) -> list[Observation]:
    # A copy: this runs in the thread of whoever asks.
    return [Observation(count, {"grpc.method": method}) for method, count in counts.copy().items()]


CALLS: Final = CallCounts()
CALLS_STARTED = _meter.create_observable_counter(
    "grpc.server.call.started",
    [CALLS.observe_started],
    unit="{call}",
    description="Calls that reached a handler.",
)
CALLS_OPEN = _meter.create_observable_up_down_counter(
    "grpc.server.call.open",
    [CALLS.observe_open],
    unit="{call}",
    description="Calls being handled now.",
)
CALL_DURATION = _meter.create_histogram(
    "grpc.server.call.duration",
    unit="s",
    description="How long calls took, by method and status.",
    explicit_bucket_boundaries_advisory=SECONDS_BOUNDARIES,
)
