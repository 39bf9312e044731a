"""One workspace on this host: a directory, and agents that run in it.

Promises: an agent that runs is found again after any crash, and never started twice; ending the
workspace ends everything that was ever started in it.

    <workspaces>/<workspace id>/home            where scripts and agents run; HOME
    <workspaces>/<workspace id>/agents/<name>   an agent's own: memory, log, process id
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from provisionerd.core.errors import ProvisionError
from provisionerd.core.provisioner import Cancel
from provisionerd.process.host import (
    carriers_of,
    carries,
    mark_of,
    signal_all,
    start_agent,
    wait_until_gone,
)
from provisionerd.process.record import AgentRecord

__all__ = ["Workspace"]

WORKSPACE_VARIABLE = "WARMPOOL_WORKSPACE_DIR"  # a path: unique on this host, as ids may not be
AGENT_VARIABLE = "WARMPOOL_AGENT_ID"
TERMINATED_SECONDS = 10.0  # after SIGKILL; only the kernel can make it longer


class Workspace:
    """The workspace with an id under the directory of all workspaces."""

    def __init__(self, workspaces_dir: Path, workspace_id: str) -> None:
        try:
            self.id = str(uuid.UUID(workspace_id))
        except ValueError:
            raise ProvisionError(f"workspace id is {workspace_id!r}; it must be a UUID") from None
        self._root = workspaces_dir.absolute() / self.id

    @property
    def home(self) -> Path:
        """Where scripts and agents run."""
        return self._root / "home"

    def private(self, agent_name: str) -> Path:
        """An agent's own directory."""
        return self._root / "agents" / agent_name

    def make(self, agent_names: tuple[str, ...]) -> None:
        """Makes the directories that are missing."""
        for directory in (self.home, *(self.private(name) for name in agent_names)):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """What every process of the workspace sees."""
        return {**inherited, "HOME": str(self.home), WORKSPACE_VARIABLE: str(self._root)}

    def find_running(self, agent: AgentRecord) -> AgentRecord:
        """The agent with the process it runs as, if it runs; with none otherwise.

        A build that crashed may have started it and not written that down: then the agent's own
        note of its number counts, if that process has the agent's id.
        """
        if agent.pid and agent.began and mark_of(agent.pid) == agent.began:
            return agent
        try:
            noted = int((self.private(agent.name) / "agent.pid").read_text())
        except (OSError, ValueError):
            noted = 0
        began = mark_of(noted)
        if began and carries(noted, AGENT_VARIABLE, agent.id):
            return replace(agent, pid=noted, began=began)
        return replace(agent, pid=0, began="")

    async def start(
        self, agent: AgentRecord, command: tuple[str, ...], inherited: Mapping[str, str]
    ) -> AgentRecord:
        """Starts an agent that does not run, and returns it with its process."""
        private = self.private(agent.name)
        env = {
            **self.environment(inherited),
            "CODER_AGENT_URL": agent.url,
            "CODER_AGENT_TOKEN": agent.token,
            "WARMPOOL_AGENT_DIR": str(private),
            AGENT_VARIABLE: agent.id,
        }
        pid = await start_agent(command, directory=self.home, private=private, env=env)
        return replace(agent, pid=pid, began=mark_of(pid))

    def terminate_agent(self, agent: AgentRecord) -> None:
        """Ends an agent and what it started, without a pause and without waiting."""
        signal_all(carriers_of(AGENT_VARIABLE, agent.id), signal.SIGKILL)

    def terminate_all(self) -> None:
        """Ends everything in the workspace, without a pause and without waiting."""
        signal_all(carriers_of(WORKSPACE_VARIABLE, str(self._root)), signal.SIGKILL)

    async def end_agents(
        self, agents: tuple[AgentRecord, ...], *, grace_seconds: float, cancel: Cancel
    ) -> None:
        """Has agents end in order, with their stop scripts, then ends what they left."""

        def still_running() -> tuple[int, ...]:
            return tuple(each.pid for each in map(self.find_running, agents) if each.pid)

        def left() -> tuple[int, ...]:
            found = (carriers_of(AGENT_VARIABLE, agent.id) for agent in agents)
            return (*still_running(), *(pid for pids in found for pid in pids))

        signal_all(await asyncio.to_thread(still_running), signal.SIGTERM)
        await wait_until_gone(still_running, grace_seconds, cancel.forced)
        signal_all(await asyncio.to_thread(left), signal.SIGKILL)
        await _wait_for_the_kernel(left)

    async def sweep(self, *, grace_seconds: float, cancel: Cancel) -> None:
        """Ends whatever else runs in the workspace."""

        def find() -> tuple[int, ...]:
            return carriers_of(WORKSPACE_VARIABLE, str(self._root))

        signal_all(await asyncio.to_thread(find), signal.SIGTERM)
        signal_all(await wait_until_gone(find, grace_seconds, cancel.forced), signal.SIGKILL)
        await _wait_for_the_kernel(find)

    async def remove(self) -> None:
        """Removes the directory; repeating it is harmless."""

        def remove() -> None:
            if self._root.exists():
                shutil.rmtree(self._root)

        try:
            await asyncio.to_thread(remove)
        except OSError as error:
            raise ProvisionError(
                f"the workspace's directory cannot be removed: {error}", retryable=True
            ) from error


async def _wait_for_the_kernel(find: Callable[[], Iterable[int]]) -> None:
    """After SIGKILL. What began in between is ended too."""

    def end_and_find() -> tuple[int, ...]:
        found = tuple(find())
        signal_all(found, signal.SIGKILL)
        return found

    rest = await wait_until_gone(end_and_find, TERMINATED_SECONDS, asyncio.Event())
    if rest:
        numbers = ", ".join(map(str, rest))
        raise ProvisionError(f"processes {numbers} of the workspace do not end", retryable=True)
