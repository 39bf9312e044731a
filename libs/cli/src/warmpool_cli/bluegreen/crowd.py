"""Many real agents in one process, each with a connection of its own.

`python -m warmpool_cli.bluegreen.crowd FIFO` runs an agent for every line "URL TOKEN DIRECTORY"
that is written to the fifo, once for each token. Their workspaces have no scripts, so an agent here
is what it is anywhere but for its processes. Each line on standard input is answered by one of JSON
on standard output: what happened since the one before. The end of standard input is the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from agentsdk import AckPhase, Agent, AgentCallbacks, CallFailed, Lifecycle
from agentsdk.core import SETTLED, Heard, Reconnect, ReinitEvent, StreamEnded, StreamSilent
from agentsdk.settings import read_settings
from agentsdk.system import SystemClock

__all__ = ["Member", "Record"]

LINE_BYTES_MAX = 1 << 20
APPLIED = "APPLIED"  # why an agent stops asking when its claim is applied
_CLOCK = SystemClock()


@dataclass(slots=True)
class Record:
    """What the agents noticed."""

    agents: int = 0
    """How many have ever had a stream."""
    waiting: int = 0
    """How many have a stream now."""
    settled: int = 0
    """How many of them were told that no claim will ever come."""
    reconnects: int = 0
    """How often one was asked to open another stream."""
    claims_heard: int = 0
    """How often one was told of its claim."""
    gap_milliseconds: list[float] = field(default_factory=list[float])
    """From the end of a stream to the first word on the next."""
    errors: dict[str, int] = field(default_factory=dict[str, int])
    """Everything else that went wrong for an agent, in its own words."""
    applied: dict[str, int] = field(default_factory=dict[str, int])
    """How often each claim was applied."""

    def take(self) -> dict[str, object]:
        """How many there are, and what has gathered, which is then forgotten."""
        taken: dict[str, object] = {
            "agents": self.agents,
            "waiting": self.waiting,
            "settled": self.settled,
            "reconnects": self.reconnects,
            "claims_heard": self.claims_heard,
            "gap_milliseconds": self.gap_milliseconds,
            "errors": self.errors,
            "applied": self.applied,
        }
        self.reconnects = self.claims_heard = 0
        self.gap_milliseconds, self.errors, self.applied = [], {}, {}
        return taken


class Member:
    """One agent, as the record sees it."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._has_manifest = False
        self._has_begun = False
        self._is_waiting = False
        self._left_at: float | None = None

    def callbacks(self) -> AgentCallbacks:
        return AgentCallbacks(
            lifecycle_changed=self._changed,
            stream_began=self._began,
            stream_ended=self._ended,
            call_failed=self._failed,
            claim_acknowledged=self._acknowledged,
            asking_ended=self._asking_ended,
        )

    def _changed(self, _lifecycle: Lifecycle) -> None:
        self._has_manifest = True

    def _began(self) -> None:
        self._record.agents += not self._has_begun
        self._has_begun = self._is_waiting = True
        self._record.waiting += 1
        if self._left_at is not None:
            gap_seconds = _CLOCK.monotonic() - self._left_at
            self._record.gap_milliseconds.append(round(gap_seconds * 1000, 1))

    def _ended(self, heard: Heard) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._record.waiting -= 1
            self._left_at = _CLOCK.monotonic()
        match heard:
            case Reconnect():
                self._record.reconnects += 1
            case ReinitEvent():
                self._record.claims_heard += 1
                self._left_at = None  # it has what it waited for
            case StreamSilent():
                self._count("the stream was silent for too long")
            case StreamEnded(code="OK"):
                self._count("the stream ended with OK, without a word of where to go")
            case _:
                return  # a status, which `call_failed` is told of

    def _failed(self, failure: CallFailed) -> None:
        if (failure.code, failure.reason) in SETTLED:
            return  # an answer, not an error
        is_known = self._has_manifest and self._has_begun
        if failure.code == "UNAUTHENTICATED" and not is_known:
            return  # it is faster than the build that makes its token
        self._count(str(failure))

    def _count(self, error: str) -> None:
        self._record.errors[error] = self._record.errors.get(error, 0) + 1

    def _acknowledged(self, claim_id: str, phase: AckPhase) -> None:
        if phase is AckPhase.APPLIED:
            self._record.applied[claim_id] = self._record.applied.get(claim_id, 0) + 1

    def _asking_ended(self, reason: str) -> None:
        if self._has_begun and reason != APPLIED:
            self._record.settled += 1


async def _run(fifo: Path) -> None:
    record = Record()
    tokens: set[str] = set()
    loop = asyncio.get_running_loop()
    arrivals, commands = asyncio.StreamReader(LINE_BYTES_MAX), asyncio.StreamReader()
    # Opened for both, so that it does not end whenever the last of its writers does.
    readable = os.fdopen(os.open(fifo, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
    for reader, pipe in ((arrivals, readable), (commands, sys.stdin)):
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        await loop.connect_read_pipe(lambda protocol=protocol: protocol, pipe)

    async with asyncio.TaskGroup() as group:
        agents: list[asyncio.Task[None]] = []

        async def welcome() -> None:
            while line := await arrivals.readline():
                url, token, directory = line.decode().split(maxsplit=2)
                if token in tokens:
                    continue
                tokens.add(token)
                settings = read_settings(
                    {"WARMPOOL_AGENT_URL": url, "WARMPOOL_AGENT_TOKEN": token},
                    Path(directory.strip()),
                )
                agent = Agent(settings, Member(record).callbacks())
                agents.append(group.create_task(agent.run()))

        welcoming = group.create_task(welcome())
        while await commands.readline():
            sys.stdout.write(json.dumps(record.take()) + "\n")
            sys.stdout.flush()
        for task in (welcoming, *agents):
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1])))
