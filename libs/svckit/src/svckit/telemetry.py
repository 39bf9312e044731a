"""Metrics for Prometheus, traces for whoever collects them.

Metrics are served on /metrics, and beside them the readiness on /readyz. Spans always exist, so
that log lines carry trace ids; they leave the process only if an OTLP endpoint is set. Nothing here
may delay a shutdown: a dead collector costs `CLOSE_SECONDS_MAX` at most.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from wsgiref.simple_server import WSGIServer

from opentelemetry import metrics, propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter, ObservableGauge
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry

from svckit.http import serve_pages
from svckit.readiness import Readiness
from svckit.spans import SpanProvider

__all__ = ["Telemetry", "current_traceparent", "setup_telemetry"]

CLOSE_SECONDS_MAX = 2.0
SERIES_MAX = 50_000
"""Per observed metric; what is beyond is summed up by the SDK under one label."""
_EXPORT_SECONDS_MAX = 1.0


@dataclass(frozen=True)
class Telemetry:
    """The process' telemetry. `metrics_port` is 0 if metrics are not served."""

    metrics_port: int
    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    http_server: WSGIServer | None

    def close(self) -> None:
        """Send what is left, at most for `CLOSE_SECONDS_MAX`, and stop serving metrics. Blocks."""
        if self.http_server is not None:
            self.http_server.shutdown()
            self.http_server.server_close()
        # The SDK's own deadlines do not hold against a dead collector.
        thread = threading.Thread(target=self._shut_down, name="telemetry-close", daemon=True)
        thread.start()
        thread.join(CLOSE_SECONDS_MAX)

    def _shut_down(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def setup_telemetry(
    service: str, metrics_listen: str, otlp_endpoint: str = "", readiness: Readiness | None = None
) -> Telemetry:
    """Start telemetry, once per process.

    `metrics_listen` is "host:port" (port 0: any free one) or "" for none, `otlp_endpoint` the gRPC
    endpoint of a collector or "" for none. Raises StartFailed if it cannot listen.
    """
    resource = Resource.create({"service.name": f"warmpool-{service}"})
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(
        registry=registry,
        scope_info_enabled=False,  # labels are those that the metric's author chose
        cardinality_limits={ObservableGauge: SERIES_MAX, ObservableCounter: SERIES_MAX},
    )
    meter_provider = MeterProvider(metric_readers=[reader], resource=resource)
    tracer_provider = SpanProvider(resource)
    if otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=otlp_endpoint, timeout=_EXPORT_SECONDS_MAX)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    metrics.set_meter_provider(meter_provider)
    readiness = readiness or Readiness()
    readiness.observe(metrics.get_meter("svckit"))
    http_server = serve_pages(metrics_listen, registry, readiness) if metrics_listen else None
    trace.set_tracer_provider(tracer_provider)
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    return Telemetry(
        metrics_port=http_server.server_port if http_server else 0,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        http_server=http_server,
    )


def current_traceparent() -> str:
    """The current span as a W3C traceparent; "" if there is none."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")
