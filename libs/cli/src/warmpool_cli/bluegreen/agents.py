"""The crowd of agents as the exercise sees it: a child process, and how workspaces get into it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Crowd", "Notes", "open_crowd", "write_agent_command"]

CROWD_MODULE = "warmpool_cli.bluegreen.crowd"
NOTES_BYTES_MAX = 1 << 24
NOTES_SECONDS = 30.0
# What a workspace runs: its agent is one of the crowd, and this process stands for it on the host.
_AGENT = """\
printf '%s %s %s\\n' "$CODER_AGENT_URL" "$CODER_AGENT_TOKEN" "$WARMPOOL_AGENT_DIR" > {fifo}
exec sleep 2147483647
"""


@dataclass(slots=True)
class Notes:
    """What the agents noticed, in one phase or in all."""

    agents: int = 0
    waiting: int = 0
    settled: int = 0
    reconnects: int = 0
    claims_heard: int = 0
    gap_milliseconds: list[float] = field(default_factory=list[float])
    errors: dict[str, int] = field(default_factory=dict[str, int])
    applied: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, more: Notes) -> None:
        """Takes in those of a later phase."""
        self.agents, self.waiting, self.settled = more.agents, more.waiting, more.settled
        self.reconnects += more.reconnects
        self.claims_heard += more.claims_heard
        self.gap_milliseconds += more.gap_milliseconds
        for total, part in ((self.errors, more.errors), (self.applied, more.applied)):
            for key, count in part.items():
                total[key] = total.get(key, 0) + count

    @property
    def errors_count(self) -> int:
        """How often something other than an orderly reconnect happened to an agent."""
        return sum(self.errors.values())

    @property
    def missing(self) -> int:
        """How many agents neither wait nor have an answer: at the end, who never came back."""
        return self.agents - self.waiting - self.settled - len(self.applied)

    def gap_at(self, share: float) -> float:
        """Milliseconds that this share of gaps did not exceed; 0 if there was none."""
        ordered = sorted(self.gap_milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Crowd:
    """A running crowd. Made by `open_crowd`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.total = Notes()
        """Everything so far."""

    async def take(self) -> Notes:
        """What was noticed since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        async with asyncio.timeout(NOTES_SECONDS):
            line = await self._process.stdout.readline()
        content: dict[str, Any] = json.loads(line)
        notes = Notes(**content)
        self.total.add(notes)
        return notes


def write_agent_command(directory: Path) -> tuple[str, Path]:
    """The command a workspace's agent is started by, and the fifo it leads to."""
    fifo, script = directory / "crowd.fifo", directory / "crowd-agent.sh"
    os.mkfifo(fifo, mode=0o600)
    script.write_text(_AGENT.format(fifo=shlex.quote(str(fifo))))
    return shlex.join(("sh", str(script))), fifo


@asynccontextmanager
async def open_crowd(fifo: Path, log_path: Path) -> AsyncGenerator[Crowd]:
    """A crowd for as long as the block runs; it ends with us, however we end."""
    with log_path.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", CROWD_MODULE, str(fifo)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"},
            limit=NOTES_BYTES_MAX,
            start_new_session=True,
        )
    try:
        yield Crowd(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
