"""Tells the story as it happens: sentences for people, one JSON line an event for programs."""

from __future__ import annotations

from svckit.system import Clock
from warmpool_cli.output import JsonValue, Output

__all__ = ["Teller"]


class Teller:
    """Numbers the chapters and stamps every event with the seconds since the beginning."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self.output = output
        self._clock = clock
        self._began = clock.monotonic()
        self._chapter = 0

    @property
    def elapsed_seconds(self) -> float:
        """Since the beginning."""
        return self._clock.monotonic() - self._began

    def chapter(self, title: str) -> None:
        """A new part of the story."""
        self._chapter += 1
        self.output.blank()
        self.output.say(f"{self._chapter}. {title}", style="bold")

    def event(self, name: str, text: str, **fields: JsonValue) -> None:
        """Something that happened."""
        elapsed = round(self.elapsed_seconds, 3)
        self.output.record({"event": name, "elapsed_seconds": elapsed, **fields})
        self.output.say(f"   {text}")
