"""Cuts a byte stream into lines of bounded length.

Promises: feeding the same bytes in any pieces yields the same lines; never holds more than
`line_bytes_max` plus one piece; a longer line is cut there, marked, and its rest dropped. Bytes
that are not UTF-8 become replacement characters.
"""

from __future__ import annotations

__all__ = ["CUT_MARK", "LineSplitter", "Tail"]

CUT_MARK = " … [line cut]"


class LineSplitter:
    """Feed pieces, take lines."""

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._pending = b""
        self._dropping = False  # inside a line that was cut already

    def feed(self, piece: bytes) -> tuple[str, ...]:
        """Returns the lines this piece completes."""
        lines: list[str] = []
        *complete, rest = piece.split(b"\n")
        for part in complete:
            lines.extend(self._take(part))
            lines.extend(self.finish())
            self._dropping = False
        lines.extend(self._take(rest))
        return tuple(lines)

    def finish(self) -> tuple[str, ...]:
        """Returns the last line if the stream ended without a newline."""
        pending, self._pending = self._pending, b""
        return (pending.decode("utf-8", "replace").rstrip("\r"),) if pending else ()

    def _take(self, part: bytes) -> tuple[str, ...]:
        if self._dropping:
            return ()
        self._pending += part
        if len(self._pending) <= self._line_bytes_max:
            return ()
        cut, self._pending = self._pending[: self._line_bytes_max], b""
        self._dropping = True
        return (cut.decode("utf-8", "replace") + CUT_MARK,)


class Tail:
    """Remembers the last lines of a stream, for the message of an error."""

    def __init__(self, lines_max: int) -> None:
        self._lines_max = lines_max
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Remembers a line and forgets the oldest one when full."""
        self._lines = [*self._lines[-self._lines_max + 1 :], line]

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._lines)
