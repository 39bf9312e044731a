"""Lines of scripts on their way to the gateway: bounded, batched, repeated until accepted.

When more than `log_lines_max` lines wait, the newest are dropped, and one line says how many. Lines
are numbered as they are accepted into the buffer, so the numbers have no gap, and a batch that is
sent twice carries the same numbers: the control plane stores a line once. The agent's own token is
masked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agentsdk.backoff import Backoffs
from agentsdk.core import PACES, Pace, is_worth_repeating
from agentsdk.errors import CallFailed
from agentsdk.gateway import Gateway
from agentsdk.settings import Token
from agentsdk.surroundings import Surroundings
from agentsdk.system import new_session_id

__all__ = ["LineSplitter", "ScriptLine", "ScriptLogs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLine:
    """One numbered line."""

    sequence: int
    written_at: datetime
    is_warning: bool
    stage: str
    text: str


class LineSplitter:
    """Cuts a stream of bytes into lines of a bounded length."""

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that are complete now."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield from self._cut(line)
        if len(self._rest) > self._line_bytes_max:
            whole = len(self._rest) - len(self._rest) % self._line_bytes_max
            head, self._rest = self._rest[:whole], self._rest[whole:]
            yield from self._cut(head)

    def finish(self) -> Iterator[str]:
        """What is left when the stream has ended without a line end."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._cut(rest)

    def _cut(self, line: bytes) -> Iterator[str]:
        line = line.removesuffix(b"\r")
        for start in range(0, max(1, len(line)), self._line_bytes_max):
            part = line[start : start + self._line_bytes_max]
            yield part.decode(errors="replace").replace("\0", "")


class ScriptLogs:
    """The buffer and its sender. `run` must be running for anything to be sent."""

    def __init__(self, gateway: Gateway, token: Token, surroundings: Surroundings) -> None:
        self._gateway = gateway
        self._token = token
        self._clock = surroundings.clock
        self._limits = surroundings.limits
        self._backoffs = Backoffs(surroundings.limits, surroundings.entropy)
        self._id = new_session_id()  # of the numbers: they begin again with every buffer
        self._lines: deque[ScriptLine] = deque()
        self._sequence = 0
        self._dropped = 0
        self._is_full_there = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def write(self, stage: str, text: str, *, is_warning: bool = False) -> None:
        """Takes one line. Never waits; drops it if the buffer is full."""
        if self._is_full_there:
            return
        if len(self._lines) >= self._limits.log_lines_max:
            self._dropped += 1
            return
        self._say_what_was_dropped()
        masked = text.replace(self._token.value, "***")
        self._append(stage, masked, is_warning=is_warning)

    async def drain(self) -> None:
        """Waits until every line is delivered or dropped; the caller bounds it."""
        await self._emptied.wait()

    async def run(self) -> None:
        """Sends for ever."""
        while True:
            await self._filled.wait()
            await self._clock.sleep(self._limits.log_delay_seconds)
            while self._lines:
                await self._send_batch()
            self._filled.clear()
            self._emptied.set()

    async def _send_batch(self) -> None:
        batch = self._next_batch()
        try:
            self._is_full_there = await self._gateway.send_logs(batch, self._id)
        except CallFailed as failure:
            if is_worth_repeating(failure.code):
                wait_seconds = self._backoffs.next(PACES.get(failure.code, Pace.SLOW))
                await self._clock.sleep(max(wait_seconds, failure.retry_after_seconds or 0.0))
                return
        self._backoffs.reset()
        for _ in batch:
            self._lines.popleft()
        if self._is_full_there:
            self._lines.clear()
            self._dropped = 0
        self._say_what_was_dropped()

    def _next_batch(self) -> list[ScriptLine]:
        batch: list[ScriptLine] = []
        size = 0
        for line in self._lines:
            size += len(line.text.encode()) + len(line.stage.encode()) + 64
            if batch and (
                len(batch) >= self._limits.log_batch_lines_max
                or size > self._limits.log_batch_bytes_max
            ):
                break
            batch.append(line)
        return batch

    def _say_what_was_dropped(self) -> None:
        if self._dropped and len(self._lines) < self._limits.log_lines_max:
            dropped, self._dropped = self._dropped, 0
            text = f"{dropped} lines were dropped here: the gateway was slower than the scripts"
            self._append("agent", text, is_warning=True)

    def _append(self, stage: str, text: str, *, is_warning: bool) -> None:
        self._sequence += 1
        self._lines.append(
            ScriptLine(
                sequence=self._sequence,
                written_at=self._clock.now(),
                is_warning=is_warning,
                stage=stage,
                text=text,
            )
        )
        self._filled.set()
        self._emptied.clear()
