"""The lines of the log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from svckit.log import get_logger, setup_logging


@pytest.fixture
def stream() -> Generator[io.StringIO]:
    """What is logged, at INFO; the former handlers come back after the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    setup_logging("sample", "INFO", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in read:
        assert line.pop("time").endswith("+00:00")
    return read


def test_a_line_is_one_json_object_with_its_fields(stream: io.StringIO) -> None:
    get_logger("loops").info("Claimed.", action="claim", workspace_id="w1", attempt=2)
    get_logger("loops").debug("Looked.", action="look")

    assert lines(stream) == [
        {
            "level": "INFO",
            "service": "sample",
            "logger": "loops",
            "message": "Claimed.",
            "action": "claim",
            "workspace_id": "w1",
            "attempt": 2,
        }
    ]


def test_a_line_in_a_span_carries_its_ids(stream: io.StringIO) -> None:
    context = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(1))

    with trace.use_span(NonRecordingSpan(context)):
        get_logger("loops").warning("Slow.")

    [line] = lines(stream)
    assert (line["trace_id"], line["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")


def test_an_error_is_told_with_its_type_and_traceback_on_the_same_line(
    stream: io.StringIO,
) -> None:
    try:
        raise ValueError("of no\nuse")
    except ValueError as error:
        get_logger("loops").error("Failed.", error=error)

    [line] = lines(stream)
    assert (line["level"], line["error"], line["error_type"]) == (
        "ERROR",
        "of no\nuse",
        "ValueError",
    )
    assert line["traceback"].startswith("Traceback")


def test_lines_of_libraries_take_the_same_shape(stream: io.StringIO) -> None:
    logging.getLogger("library").warning("%d retries", 3)

    assert lines(stream) == [
        {"level": "WARNING", "service": "sample", "logger": "library", "message": "3 retries"}
    ]


def test_a_library_that_has_no_error_to_show_is_heard(stream: io.StringIO) -> None:
    logging.getLogger("asyncio").error("A task was lost.", exc_info=False)

    assert lines(stream) == [
        {"level": "ERROR", "service": "sample", "logger": "asyncio", "message": "A task was lost."}
    ]


def test_a_field_cannot_take_the_place_of_what_every_line_has(stream: io.StringIO) -> None:
    get_logger("loops").info("Named.", name="pool")

    [line] = lines(stream)
    assert (line["logger"], line["name"]) == ("loops", "pool")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are DEBUG, INFO, WARNING, ERROR"):
        setup_logging("sample", "LOUD")
