"""What a command prints, for people or for programs.

With `--output json` standard output carries exactly one JSON document, or one JSON document a line
for commands that follow something; everything said on the way is left out. Otherwise it carries
tables and sentences: in colour with a live status on a terminal, plain complete lines elsewhere.
Text that came from elsewhere is printed without its control characters, so that a build log cannot
steer the reader's terminal.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TextIO

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType
from rich.status import Status

__all__ = ["JsonValue", "Output", "OutputFormat", "Step", "as_json", "printable"]

PLAIN_WIDTH = 4096
"""Columns of a table that goes to a file or pipe: wide enough that nothing is cut."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

JsonValue = Mapping[str, "JsonValue"] | Sequence["JsonValue"] | str | int | float | bool | None


class OutputFormat(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


def printable(text: str) -> str:
    """The text with control characters made visible."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


def as_json(message: Message) -> dict[str, JsonValue]:
    """A message as protobuf's JSON with the field names of the .proto files, defaults included."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


class Output:
    """Standard output, in one format."""

    def __init__(self, output_format: OutputFormat, stream: TextIO) -> None:
        self.is_json = output_format is OutputFormat.JSON
        self._stream = stream
        self.is_terminal = not self.is_json and stream.isatty()
        self.console = Console(
            file=stream,
            markup=False,
            emoji=False,
            highlight=False,
            width=None if self.is_terminal else PLAIN_WIDTH,
        )

    def document(self, value: JsonValue) -> None:
        """The one JSON document of a command; nothing in text."""
        if self.is_json:
            self._stream.write(json.dumps(value, indent=2) + "\n")
            self._stream.flush()

    def record(self, value: JsonValue) -> None:
        """One line of a stream of JSON documents; nothing in text."""
        if self.is_json:
            self._stream.write(json.dumps(value, separators=(",", ":")) + "\n")
            self._stream.flush()

    def say(self, text: str, style: str = "") -> None:
        """A sentence for people; nothing in JSON."""
        if not self.is_json:
            self.console.print(printable(text), style=style or None, soft_wrap=True)

    def blank(self) -> None:
        """An empty line between two parts for people; nothing in JSON."""
        if not self.is_json:
            self.console.print()

    def draw(self, renderable: RenderableType) -> None:
        """A table for people; nothing in JSON."""
        if self.is_terminal:
            self.console.print(renderable)
        elif not self.is_json:
            with self.console.capture() as captured:
                self.console.print(renderable)
            lines = (line.rstrip() for line in captured.get().splitlines())
            self._stream.write("\n".join(line for line in lines if line) + "\n")
            self._stream.flush()

    @contextmanager
    def outlived(self, look: str) -> Generator[None]:
        """A wait for work that goes on when the wait is ended; then `look` says where to look."""
        try:
            yield
        except asyncio.CancelledError:
            self.say(look, style="yellow")
            raise

    @contextmanager
    def step(self, text: str) -> Generator[Step]:
        """Work that takes a while: a live line on a terminal, a plain line a change elsewhere."""
        step = Step(self, text)
        if self.is_terminal:
            with self.console.status(printable(text)) as status:
                step.attach(status)
                yield step
        else:
            self.say(f"{text} ...")
            yield step


class Step:
    """The live line of one piece of work."""

    def __init__(self, output: Output, text: str) -> None:
        self._output = output
        self._text = text
        self._said = ""
        self._status: Status | None = None

    def attach(self, status: Status) -> None:
        """Shows updates in this live line from now on."""
        self._status = status

    def update(self, text: str) -> None:
        """Says how far the work is; the same twice is said once."""
        if text == self._said:
            return
        self._said = text
        if self._status is not None:
            self._status.update(printable(f"{self._text}: {text}"))
        else:
            self._output.say(f"  {text}")
