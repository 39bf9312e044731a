"""What a worker counts and measures."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from provisionerd.core.jobs import AcquiredJob
from provisionerd.core.slots import Slots
from svckit.metrics import SECONDS_BOUNDARIES

__all__ = ["WorkerMetrics"]


class WorkerMetrics:
    """The instruments of one worker."""

    def __init__(self, meter: Meter, slots: Slots) -> None:
        self._jobs = meter.create_counter(
            "warmpool_provisioner_jobs_total",
            description="Jobs that ended, by provisioner, kind and outcome.",
        )
        self._seconds = meter.create_histogram(
            "warmpool_provisioner_job_seconds",
            unit="s",
            explicit_bucket_boundaries_advisory=SECONDS_BOUNDARIES,
            description="From a job's arrival to its acknowledged report.",
        )
        self._lines_dropped = meter.create_counter(
            "warmpool_provisioner_log_lines_dropped_total",
            description="Build log lines that came faster than they could be sent.",
        )
        self._streams = meter.create_counter(
            "warmpool_provisioner_acquire_streams_total",
            description="Acquire streams that were opened.",
        )

        def observe_held(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(len(slots.held))]

        def observe_total(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(slots.total)]

        meter.create_observable_gauge(
            "warmpool_provisioner_slots_in_use",
            [observe_held],
            description="Jobs in hand.",
        )
        meter.create_observable_gauge(
            "warmpool_provisioner_slots",
            [observe_total],
            description="Jobs that may be in hand at once.",
        )

    def count_stream(self) -> None:
        """An acquire stream is open."""
        self._streams.add(1)

    def count_end(
        self, job: AcquiredJob, outcome: str, *, elapsed_seconds: float, lines_dropped: int
    ) -> None:
        """A job has ended."""
        labels = {"provisioner": job.provisioner_type, "kind": job.kind, "outcome": outcome}
        self._jobs.add(1, labels)
        self._seconds.record(elapsed_seconds, labels)
        if lines_dropped:
            self._lines_dropped.add(lines_dropped)
