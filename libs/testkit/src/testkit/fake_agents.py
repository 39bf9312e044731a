"""Agents that only say that they are there, for tests of provisioners.

`FakeAgents` listens on a port of its own and gives a command line to put into
`WARMPOOL_AGENT_COMMAND`. Whatever runs that command becomes an `ArrivedAgent`: its process id, the
environment it was given, and an event that is set when it is gone, told by its closed connection.
So a test waits for an agent to come or go and never for time. Supported; Linux and macOS.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

__all__ = ["ArrivedAgent", "FakeAgents", "fake_agents"]

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivedAgent:
    """One process that ran the command."""

    pid: int
    env: dict[str, str] = field(repr=False)
    directory: str
    gone: asyncio.Event


class FakeAgents:
    """Every agent that came so far. Made by `fake_agents`."""

    def __init__(self) -> None:
        self.all: list[ArrivedAgent] = []
        self.command = ""
        self._arrivals: asyncio.Queue[ArrivedAgent] = asyncio.Queue()

    @property
    def present(self) -> tuple[ArrivedAgent, ...]:
        """The agents that have not gone."""
        return tuple(agent for agent in self.all if not agent.gone.is_set())

    async def arrival(self) -> ArrivedAgent:
        """The next agent nobody has asked for yet."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._arrivals.get()

    async def departure(self, agent: ArrivedAgent) -> None:
        """Waits until an agent is gone."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await agent.gone.wait()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one agent's connection: one line, then silence until it ends."""
        try:
            line = await reader.readline()
            if not line:
                return
            said = cast("dict[str, object]", json.loads(line))
            agent = ArrivedAgent(
                pid=cast("int", said["pid"]),
                env=cast("dict[str, str]", said["env"]),
                directory=cast("str", said["directory"]),
                gone=asyncio.Event(),
            )
            self.all.append(agent)
            self._arrivals.put_nowait(agent)
            try:
                await reader.read()
            except ConnectionError:
                pass
            finally:
                agent.gone.set()
        finally:
            writer.close()


# What runs as the agent: it needs nothing but the standard library, and starts in milliseconds.
_AGENT = """
import json, os, signal, socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
said = {"pid": os.getpid(), "env": dict(os.environ), "directory": os.getcwd()}
connection.sendall(json.dumps(said).encode() + b"\\n")
connection.recv(1)
"""


@asynccontextmanager
async def fake_agents(directory: str) -> AsyncGenerator[FakeAgents]:
    """Listens for agents. `directory` takes the agent's program; its path may hold no space. At
    the end every agent still there is told to go.
    """
    agents = FakeAgents()
    program = f"{directory}/fake_agent.py"
    await asyncio.to_thread(_write, program)
    server = await asyncio.start_server(agents.listen, "127.0.0.1", 0, limit=1 << 20)
    port = cast("tuple[str, int]", server.sockets[0].getsockname())[1]
    agents.command = f"{sys.executable} -S {program} {port}"
    async with server:
        yield agents


def _write(program: str) -> None:
    with open(program, "w", encoding="utf-8") as file:
        file.write(_AGENT)
