"""The lines of one job's log on their way to the control plane.

Promises: `add` never blocks and never grows the buffer beyond its bounds: what does not fit is
dropped, counted, and the count becomes a line of its own as soon as there is room. Sequences have
no gaps, because a dropped line never gets one. A batch stays here until it is acknowledged, so a
heartbeat that fails is repeated with the same lines under the same sequences.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from provisionerd.core.jobs import LogLine
from provisionerd.core.provisioner import Level

__all__ = ["BATCH_LINES_MAX", "LINE_BYTES_MAX", "LogBuffer"]

LINE_BYTES_MAX = 8 * 1024
BATCH_LINES_MAX = 1000
# gRPC messages end at 4 MiB; a thousand lines of the longest kind would be twice that
_BATCH_BYTES_MAX = 1024 * 1024
_BUFFER_LINES_MAX = 20_000
_BUFFER_BYTES_MAX = 8 * 1024 * 1024
_LINE_OVERHEAD_BYTES = 64  # what a line weighs besides its text, on the wire and here
_STAGE_BYTES_MAX = 64
_CUT_MARK = " … (cut)"


class LogBuffer:
    """Lines that have been written and not been acknowledged."""

    def __init__(
        self, *, lines_max: int = _BUFFER_LINES_MAX, bytes_max: int = _BUFFER_BYTES_MAX
    ) -> None:
        self._lines_max = lines_max
        self._bytes_max = bytes_max
        self._pending: deque[tuple[LogLine, int]] = deque()
        self._bytes = 0
        self._sequence = 0
        self._dropped = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, written_at: datetime, level: Level, stage: str, text: str) -> None:
        """Takes one message; each of its lines becomes a line."""
        for line in text.splitlines() or [""]:
            self._add_line(written_at, level, stage, line)

    def next_batch(self, written_at: datetime) -> tuple[LogLine, ...]:
        """The oldest lines, as many as one call may carry. `written_at` dates a line about what
        was dropped, if there is one to write.
        """
        self._confess(written_at)
        batch: list[LogLine] = []
        size = 0
        for line, weight in self._pending:
            size += weight
            if len(batch) == BATCH_LINES_MAX or (batch and size > _BATCH_BYTES_MAX):
                break
            batch.append(line)
        return tuple(batch)

    def acknowledge(self, sequence: int) -> None:
        """Forgets all lines up to a sequence."""
        while self._pending and self._pending[0][0].sequence <= sequence:
            self._bytes -= self._pending.popleft()[1]

    def _add_line(self, written_at: datetime, level: Level, stage: str, text: str) -> None:
        text = _cut(text, LINE_BYTES_MAX)
        weight = len(text.encode()) + _LINE_OVERHEAD_BYTES
        if not self._has_room(weight):
            self._dropped += 1
            self.dropped_total += 1
            return
        self._confess(written_at)
        if not self._has_room(weight):  # the confession took the last place
            self._dropped += 1
            self.dropped_total += 1
            return
        self._append(written_at, level, stage, text, weight)

    def _confess(self, written_at: datetime) -> None:
        if not self._dropped:
            return
        text = f"{self._dropped} lines were left out here: they came faster than they could be sent"
        weight = len(text) + _LINE_OVERHEAD_BYTES
        if self._has_room(weight):
            self._append(written_at, Level.WARN, "log", text, weight)
            self._dropped = 0

    def _append(
        self, written_at: datetime, level: Level, stage: str, text: str, weight: int
    ) -> None:
        self._sequence += 1
        line = LogLine(
            sequence=self._sequence,
            written_at=written_at,
            level=level,
            stage=_cut(stage, _STAGE_BYTES_MAX),
            text=text,
        )
        self._pending.append((line, weight))
        self._bytes += weight

    def _has_room(self, weight: int) -> bool:
        return len(self._pending) < self._lines_max and self._bytes + weight <= self._bytes_max


def _cut(text: str, bytes_max: int) -> str:
    # a zero byte is text to a template's command, and to no database
    encoded = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    if len(encoded) <= bytes_max:
        # a lone surrogate would be refused on the wire
        return encoded.decode()
    room = bytes_max - len(_CUT_MARK.encode())
    return encoded[:room].decode("utf-8", "ignore") + _CUT_MARK
