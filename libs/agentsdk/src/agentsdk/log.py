"""The agent's own log: one JSON object per line on standard error.

It never holds the token, a script's text or its environment.
"""

from __future__ import annotations

import json
import sys
from typing import LiteralString, TextIO

from agentsdk.system import Clock

__all__ = ["AgentLog"]


class AgentLog:
    """Says a constant sentence with its identifiers beside it."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._stream = stream if stream is not None else sys.stderr

    def info(self, message: LiteralString, **fields: str | float) -> None:
        """Something changed."""
        self._write("INFO", message, fields)

    def warning(self, message: LiteralString, **fields: str | float) -> None:
        """A person may care."""
        self._write("WARNING", message, fields)

    def error(self, message: LiteralString, **fields: str | float) -> None:
        """A person must act."""
        self._write("ERROR", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, str | float]) -> None:
        line = {
            "time": self._clock.now().isoformat(timespec="milliseconds"),
            "level": level,
            "service": "warmpool-agent",
            "message": message,
            **fields,
        }
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # whoever read the log is gone; that must not end the agent
