"""What a gateway counts and measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

__all__ = ["GatewayMetrics"]


class GatewayMetrics:
    """The instruments of one gateway."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._sessions = meter.create_counter(
            "warmpool_gateway_sessions_total", description="Reinit streams that were opened."
        )
        self._refusals = meter.create_counter(
            "warmpool_gateway_admission_refusals_total",
            description="Reinit streams that were not admitted, by reason.",
        )
        self._ends = meter.create_counter(
            "warmpool_gateway_session_ends_total",
            description="Reinit streams that ended, by how.",
        )
        self._read_agents = meter.create_histogram(
            "warmpool_gateway_read_agents",
            description="Agents per read of durable state.",
            explicit_bucket_boundaries_advisory=[1, 2, 5, 10, 50, 100, 500, 1_000, 2_000],
        )
        self._read_failures = meter.create_counter(
            "warmpool_gateway_read_failures_total",
            description="Reads of durable state that failed and are repeated, by code.",
        )
        self._hints = meter.create_counter(
            "warmpool_gateway_hints_total",
            description="Claim hints that were received, by whether an agent here waits for one.",
        )
        self._hostile = meter.create_counter(
            "warmpool_gateway_invalid_hints_total",
            description="Messages on a claims subject that are no claim.",
        )
        self._disturbances = meter.create_counter(
            "warmpool_gateway_disturbances_total",
            description="Times hints may have been lost and every agent was looked at again.",
        )
        self._dropped_records = meter.create_counter(
            "warmpool_gateway_records_dropped_total",
            description="Deliveries that could not be recorded because too many were pending.",
        )

        self._unknown_tokens = meter.create_counter(
            "warmpool_gateway_unknown_tokens_total",
            description="Calls refused at once: their token was unknown a moment ago.",
        )

    def observe_sessions(self, sessions: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Registers the gauges."""

        def observe_open(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(sessions())]

        def observe_waiting(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(waiting())]

        self._meter.create_observable_gauge(
            "warmpool_gateway_sessions", [observe_open], description="Reinit streams that are open."
        )
        self._meter.create_observable_gauge(
            "warmpool_gateway_waiters",
            [observe_waiting],
            description="Agents that were told to wait and are owed no look.",
        )

    def count_session(self) -> None:
        """A stream was opened."""
        self._sessions.add(1)

    def count_refusal(self, reason: str) -> None:
        """A stream was not admitted."""
        self._refusals.add(1, {"reason": reason})

    def count_end(self, how: str) -> None:
        """A stream ended: delivered, superseded, reconnect, vanished or a refusal's reason."""
        self._ends.add(1, {"how": how})

    def record_read(self, agents: int) -> None:
        """Durable state was read for so many agents."""
        self._read_agents.record(agents)

    def count_read_failure(self, code: str) -> None:
        """A read failed."""
        self._read_failures.add(1, {"code": code})

    def count_hint(self, *, is_awaited: bool) -> None:
        """A hint came."""
        self._hints.add(1, {"awaited": is_awaited})

    def count_invalid_hint(self) -> None:
        """What came was no hint."""
        self._hostile.add(1)

    def count_disturbance(self) -> None:
        """Hints may have been lost."""
        self._disturbances.add(1)

    def count_unknown_token(self) -> None:
        """A call was refused without a look."""
        self._unknown_tokens.add(1)

    def count_dropped_record(self) -> None:
        """A delivery will not be recorded."""
        self._dropped_records.add(1)
