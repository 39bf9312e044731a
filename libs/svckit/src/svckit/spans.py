"""Spans that are kept only if somebody takes them.

Every call is a span, so that its log lines and what it sends bear the trace's id. Where nobody
collects traces that is all a span is for, and all it is here: an identity, at a twentieth of the
cost. As soon as the provider has a processor its spans are whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanKind
from opentelemetry.util import types

__all__ = ["SpanProvider"]

_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)


class SpanProvider(TracerProvider):
    """A tracer provider whose spans are mere identities until a processor is added."""

    def __init__(self, resource: Resource) -> None:
        """Spans of that resource; nobody takes them yet."""
        super().__init__(resource=resource)
        self.is_collecting = False

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Spans that start from now on are given to it."""
        super().add_span_processor(span_processor)
        self.is_collecting = True

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: types.Attributes | None = None,
    ) -> trace.Tracer:
        """The tracer of a module."""
        whole = super().get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes
        )
        return _Tracer(self, whole)


class _Tracer(trace.Tracer):
    def __init__(self, provider: SpanProvider, whole: trace.Tracer) -> None:
        self._provider = provider
        self._whole = whole
        self._ids = RandomIdGenerator()

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        if self._provider.is_collecting:
            return self._whole.start_span(
                name,
                context,
                kind,
                attributes,
                links,
                start_time,
                record_exception,
                set_status_on_exception,
            )
        parent = trace.get_current_span(context).get_span_context()
        if parent.is_valid:
            identity = trace.SpanContext(
                parent.trace_id,
                self._ids.generate_span_id(),
                is_remote=False,
                trace_flags=parent.trace_flags,  # whoever collects further on decides as before
                trace_state=parent.trace_state,
            )
        else:
            identity = trace.SpanContext(
                self._ids.generate_trace_id(),
                self._ids.generate_span_id(),
                is_remote=False,
                trace_flags=_SAMPLED,
            )
        return trace.NonRecordingSpan(identity)

    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ):  # the type is a private one of OpenTelemetry's
        span = self.start_span(
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
        )
        return trace.use_span(span, end_on_exit, record_exception, set_status_on_exception)
