"""The metrics of the chassis: their names, units and help, in one place."""

from __future__ import annotations

from opentelemetry import metrics

__all__ = ["CALLS_OPEN", "CALLS_STARTED", "CALL_DURATION", "SECONDS_BOUNDARIES"]

SECONDS_BOUNDARIES = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""Histogram buckets for durations. The default ones put everything below 5 s into one."""

_meter = metrics.get_meter("svckit")

CALLS_STARTED = _meter.create_counter(
    "grpc.server.call.started", unit="{call}", description="Calls that reached a handler."
)
CALLS_OPEN = _meter.create_up_down_counter(
    "grpc.server.call.open", unit="{call}", description="Calls being handled now."
)
CALL_DURATION = _meter.create_histogram(
    "grpc.server.call.duration",
    unit="s",
    description="How long calls took, by method and status.",
    explicit_bucket_boundaries_advisory=SECONDS_BOUNDARIES,
)
