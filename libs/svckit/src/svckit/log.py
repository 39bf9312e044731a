"""Typed logging: one constant sentence, and fields from `LogFields` only.

The type checker refuses a message that is not a literal, a field that is not listed, a value of the
wrong type, and anything positional after the message. So a line can be searched by its sentence,
and nothing secret slips in through a format string.

Lines are JSON on stdout, one object each. When a span is current they carry its trace id and span
id: the log is how one finds the trace. Lines of third-party libraries take the same shape.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, LiteralString, TextIO, Unpack, cast

from opentelemetry import trace

from svckit.log_fields import LogFields

__all__ = ["Logger", "get_logger", "setup_logging"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_FIELDS_ATTRIBUTE = "warmpool_fields"


class Logger:
    """Writes log lines under one name. Get it from `get_logger`."""

    def __init__(self, name: str) -> None:
        """Make the logger of that name."""
        self._logger = logging.getLogger(name)

    def debug(
        self,
        message: LiteralString,
        *,
        error: BaseException | None = None,
        **fields: Unpack[LogFields],
    ) -> None:
        """Nothing changed, but whoever debugs wants to know."""
        self._write(logging.DEBUG, message, error, fields)

    def info(
        self,
        message: LiteralString,
        *,
        error: BaseException | None = None,
        **fields: Unpack[LogFields],
    ) -> None:
        """Something changed."""
        self._write(logging.INFO, message, error, fields)

    def warning(
        self,
        message: LiteralString,
        *,
        error: BaseException | None = None,
        **fields: Unpack[LogFields],
    ) -> None:
        """A human may care."""
        self._write(logging.WARNING, message, error, fields)

    def error(
        self,
        message: LiteralString,
        *,
        error: BaseException | None = None,
        **fields: Unpack[LogFields],
    ) -> None:
        """A human must care."""
        self._write(logging.ERROR, message, error, fields)

    def _write(
        self, level: int, message: str, error: BaseException | None, fields: LogFields
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, exc_info=error, extra={_FIELDS_ATTRIBUTE: fields})


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object on one line."""

    def __init__(self, service: str) -> None:
        """Make the formatter of that service's lines."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= cast("LogFields", getattr(record, _FIELDS_ATTRIBUTE, {}))
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        if record.exc_info and record.exc_info[1] is not None:  # asyncio gives False for none
            line["error"] = str(record.exc_info[1])
            line["error_type"] = type(record.exc_info[1]).__qualname__
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def get_logger(name: str) -> Logger:
    """The logger of that name; pass `__name__`."""
    return Logger(name)


def setup_logging(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Write the process' log lines of `level` and above to `stream` (default stdout).

    Call it once, before the first channel or server: gRPC can deadlock on a later change. Raises
    ValueError for a level that is not in `LEVELS`.
    """
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}: allowed are {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stdout if stream is None else stream)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    for former in list(root.handlers):
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level)
