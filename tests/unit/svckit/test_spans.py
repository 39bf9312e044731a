"""Spans are identities, and whole only where somebody takes them."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from svckit.spans import SpanProvider
from svckit.telemetry import current_traceparent

REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"


def test_a_span_that_nobody_takes_is_an_identity() -> None:
    tracer = SpanProvider(Resource.create()).get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        with tracer.start_as_current_span("inner") as inner:
            said = current_traceparent()
        assert trace.get_current_span() is outer
    mine, its = inner.get_span_context(), outer.get_span_context()
    assert not outer.is_recording()
    assert mine.is_valid
    assert (mine.trace_id, mine.span_id != its.span_id) == (its.trace_id, True)
    assert said == f"00-{mine.trace_id:032x}-{mine.span_id:016x}-01"
    assert tracer.start_span("other").get_span_context().trace_id != mine.trace_id


def test_it_belongs_to_the_callers_trace_and_leaves_collecting_to_its_wish() -> None:
    tracer = SpanProvider(Resource.create()).get_tracer("test")
    for flags in ("00", "01"):
        carrier = {"traceparent": REMOTE.format(flags=flags)}
        remote = TraceContextTextMapPropagator().extract(carrier)
        own = tracer.start_span("call", remote).get_span_context()
        assert f"{own.trace_id:032x}" == REMOTE.split("-")[1]
        assert f"{own.trace_flags:02x}" == flags
        assert not own.is_remote


def test_whoever_takes_spans_gets_whole_ones() -> None:
    provider, exporter = SpanProvider(Resource.create()), InMemorySpanExporter()
    tracer = provider.get_tracer("test")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracer.start_as_current_span("outer", attributes={"key": "value"}):
        tracer.start_span("inner").end()
    inner, outer = exporter.get_finished_spans()
    assert (outer.name, dict(outer.attributes or {})) == ("outer", {"key": "value"})
    assert inner.parent == outer.context
