"""Turns what terraform prints into the build log, and remembers what matters for the outcome.

Promises: one line in, at least one line out; no line holds a secret the masker knows; each resource
gets the time it took, from the tool's own time stamps; the first error is kept as the one-line
cause. A diagnostic of many lines becomes many log lines, so that none is lost to a line limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from provisionerd.core.provisioner import Level, LogSink
from provisionerd.terraform.events import (
    Diagnostic,
    Event,
    Finished,
    PlannedChange,
    Started,
    Summary,
    Text,
    read,
)
from provisionerd.terraform.mask import Masker

__all__ = ["BuildLog"]

_LINE_CHARACTERS_MAX = 4096
_UNSAFE = "[hidden: it may hold a secret, and the tfstate that tells is half-written]"


class BuildLog:
    """Listens to the commands of one job. `stage` names what runs now."""

    def __init__(
        self,
        sink: LogSink,
        masker: Masker,
        *,
        before_output: Callable[[], bool] = lambda: True,
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._sink = sink
        self._masker = masker
        self._on_event = on_event  # sees each event before it is logged
        self._before_output = before_output  # learns the secrets made since the last line
        self._started: dict[tuple[str, str], datetime] = {}
        self.stage = "init"
        self.errors: list[Diagnostic] = []
        self.planned: list[PlannedChange] = []
        self.finished_count = 0

    def begin(self, stage: str) -> None:
        """A command starts: what the last one complained about no longer counts."""
        self.stage = stage
        self.errors = []
        self.planned = []

    def take(self, line: str) -> None:
        """Takes one line of a command that prints JSON."""
        event = read(line)
        self._on_event(event)
        match event:
            case Text(level=level, message=message, from_outside=from_outside):
                if from_outside and not self._before_output():
                    message = _UNSAFE
                self.say(level, message)
            case Diagnostic() as diagnostic:
                self._take_diagnostic(diagnostic)
            case PlannedChange() as change:
                self.planned.append(change)
                reason = f" ({change.reason.replace('_', ' ')})" if change.reason else ""
                self.say(Level.INFO, change.message + reason)
            case Summary(message=message, operation=operation):
                self.say(Level.INFO, message)
                if operation == "plan" and self.stage == "plan":
                    self.stage = "apply"
            case Started(message=message) as started:
                if started.at is not None:
                    self._started[started.address, started.action] = started.at
                self.say(Level.DEBUG if started.action == "read" else Level.INFO, message)
            case Finished() as finished:
                self._take_finished(finished)

    def take_plain(self, line: str) -> None:
        """Takes one line of a command that prints text."""
        if line.strip():
            self.say(Level.INFO, line)

    def say(self, level: Level, message: str) -> None:
        """Writes one line, or several if it has several."""
        for line in self._masker.hide(message).splitlines():
            if line.strip():
                self._sink(level, self.stage, line[:_LINE_CHARACTERS_MAX])

    def _take_diagnostic(self, diagnostic: Diagnostic) -> None:
        if not self._before_output():
            diagnostic = replace(diagnostic, summary=_UNSAFE, detail="")
        if diagnostic.level is Level.ERROR:
            self.errors.append(diagnostic)
        where = f" ({diagnostic.filename}:{diagnostic.line})" if diagnostic.filename else ""
        kind = "Error" if diagnostic.level is Level.ERROR else "Warning"
        self.say(diagnostic.level, f"{kind}: {diagnostic.summary}{where}\n{diagnostic.detail}")

    def _take_finished(self, finished: Finished) -> None:
        self.finished_count += 1
        started_at = self._started.pop((finished.address, finished.action), None)
        level = Level.DEBUG if finished.action == "read" else Level.INFO
        if finished.failed:
            level = Level.ERROR
        if started_at is None or finished.at is None:
            self.say(level, finished.message)
            return
        seconds = (finished.at - started_at).total_seconds()
        verdict = "failed" if finished.failed else "done"
        self.say(level, f"{finished.address}: {finished.action} {verdict} in {seconds:.3f} s")
