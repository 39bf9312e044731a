"""The whole system as processes, to be used and mistreated by tests.

Postgres, nats-server, the three services and the agents are what `warmpool up` runs, put together
by the same code; only the pauses are short, so that what a sweep or the reaper has to
find is found within a test. Templates are for the process provisioner.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

from embedded import EmbeddedPostgres, Supervisor, find_free_port
from provisionerd.process.host import carriers_of, signal_all, start_agent
from svckit.system import SystemClock
from testkit.eventually import eventually
from testkit.nats import OwnNats
from warmpool.control.v1.pools_pb2 import ListPoolsRequest, Pool
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool.control.v1.workspaces_pb2 import (
    CreateWorkspaceRequest,
    CreateWorkspaceResponse,
    GetWorkspaceRequest,
    ListWorkspacesRequest,
    Workspace,
)
from warmpool_cli.archive import pack_template
from warmpool_cli.client import Client
from warmpool_cli.flows.pushing import follow_import, upload_template
from warmpool_cli.local.environment import LocalSettings
from warmpool_cli.local.layout import Layout
from warmpool_cli.local.system import run_local_system

__all__ = ["SHORT_PAUSES", "SWEEP_SECONDS", "RunningSystem", "run_system"]

SWEEP_SECONDS = 2.0
"""How often the gateway looks at every waiting agent, whether or not it was told anything."""
CALL_SECONDS = 20.0
IMPORT_SECONDS = 30.0
RUNS_FILE = "runs.log"

SHORT_PAUSES: Mapping[str, Mapping[str, str]] = {
    "reconciler": {
        "WARMPOOL_RECONCILER_RECONCILE_TICK_SECONDS": "1",
        "WARMPOOL_RECONCILER_AGENT_TIMEOUT_SECONDS": "10",
        "WARMPOOL_RECONCILER_HEARTBEAT_SECONDS": "0.5",
        "WARMPOOL_RECONCILER_JOB_UNCONFIRMED_SECONDS": "3",
        "WARMPOOL_RECONCILER_JOB_HUNG_SECONDS": "20",
        "WARMPOOL_RECONCILER_REAPER_TICK_SECONDS": "0.5",
        "WARMPOOL_RECONCILER_POOL_BACKOFF_SECONDS": "0",
        "WARMPOOL_RECONCILER_POOL_FAILURE_HARD_LIMIT": "0",
    },
    "agentgw": {
        "WARMPOOL_AGENTGW_HEARTBEAT_SECONDS": "1",
        "WARMPOOL_AGENTGW_SWEEP_SECONDS": str(SWEEP_SECONDS),
        "WARMPOOL_AGENTGW_LIVENESS_SECONDS": "1",
    },
}


@dataclass(slots=True, kw_only=True)
class RunningSystem:
    """A system that runs. Made by `run_system`; a service that is killed comes back by itself."""

    layout: Layout
    settings: LocalSettings
    client: Client
    supervisor: Supervisor
    nats: OwnNats
    postgres: EmbeddedPostgres
    claimed: list[str] = field(default_factory=list[str])
    """Every workspace that `claim` got out of a pool."""

    # --- Faults --------------------------------------------------------------------------------

    def kill(self, name: str) -> int:
        """Ends a service as a crash does; the process id it had."""
        pid = self.supervisor.pid_of(name)
        assert pid is not None, f"{name} is not running"
        self.supervisor.kill(name)
        return pid

    async def wait_back(self, name: str, old_pid: int) -> None:
        """Returns when another process of the service serves."""

        def look() -> None:
            assert self.supervisor.pid_of(name) not in (None, old_pid)

        await eventually(look)
        await self.supervisor.wait_ready(name)

    def freeze(self, name: str) -> None:
        """Holds a service still."""
        self.supervisor.freeze(name)

    def thaw(self, name: str) -> None:
        """Lets it go on; harmless if it is not frozen."""
        self.supervisor.thaw(name)

    def service_log(self, name: str) -> str:
        """What a service has written."""
        return self.supervisor.log_path(name).read_text(errors="replace")

    def readiness(self, name: str) -> tuple[int, str]:
        """The page at a service's /readyz, and its HTTP status."""
        lines = [json.loads(line) for line in self.service_log(name).splitlines()]
        port = [line["port"] for line in lines if line["message"] == "Metrics are served."][-1]
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=CALL_SECONDS) as page:
                return page.status, page.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    # --- Templates and pools -------------------------------------------------------------------

    async def push(self, name: str, template: str) -> None:
        """Imports and promotes the text of a `warmpool.toml`; raises if it fails or is slow."""
        directory = self.layout.root / "templates" / f"{name}-{uuid4().hex[:8]}"
        directory.mkdir(parents=True)
        (directory / "warmpool.toml").write_text(template)
        header = PushTemplateHeader(template=name, provisioner_type="process", promote=True)
        archive = pack_template(directory)
        async with asyncio.timeout(IMPORT_SECONDS):
            pushed = await upload_template(self.client, header, archive.content, lambda _sent: None)
            await follow_import(self.client, pushed.version, lambda _line: None)

    async def pool(self, template: str) -> Pool:
        """The pool of the template's active version; it must have exactly one."""
        answer = await self.client.pools.ListPools(
            ListPoolsRequest(template=template), timeout=CALL_SECONDS
        )
        active = [pool for pool in answer.pools if pool.active]
        assert len(active) == 1, f"{template} has {len(active)} active pools"
        return active[0]

    async def wait_warm(self, template: str, *, seconds: float = 30.0) -> Pool:
        """The template's pool once all that it should have can be claimed."""

        async def look() -> Pool:
            pool = await self.pool(template)
            assert pool.eligible >= pool.desired > 0, f"{pool}"
            return pool

        return await eventually(look, seconds=seconds)

    async def prebuilds(self, template: str) -> list[Workspace]:
        """What the pool owns, the one that is claimed next first."""
        answer = await self.client.workspaces.ListWorkspaces(
            ListWorkspacesRequest(owner="*", template=template, include_system=True),
            timeout=CALL_SECONDS,
        )
        return [each for each in reversed(answer.workspaces) if each.is_prebuild]

    # --- Workspaces ----------------------------------------------------------------------------

    async def create(self, template: str, *, request_id: str = "") -> CreateWorkspaceResponse:
        """Asks for a workspace, warm or not, for the user admin."""
        request = CreateWorkspaceRequest(template=template, request_id=request_id)
        answer = await self.client.workspaces.CreateWorkspace(request, timeout=CALL_SECONDS)
        if answer.warm and answer.workspace.id not in self.claimed:
            self.claimed.append(answer.workspace.id)
        return answer

    async def claim(self, template: str) -> str:
        """Claims a prebuild, which must be there, and returns the workspace's id."""
        answer = await self.create(template)
        assert answer.warm, answer.pool_miss_message
        return answer.workspace.id

    async def workspace(self, workspace_id: str) -> Workspace:
        """The workspace as the control plane sees it."""
        answer = await self.client.workspaces.GetWorkspace(
            GetWorkspaceRequest(workspace_id=workspace_id), timeout=CALL_SECONDS
        )
        return answer.workspace

    async def wait_applied(self, workspace_id: str, *, seconds: float) -> Workspace:
        """The workspace once its agents have acknowledged its claim."""

        async def look() -> Workspace:
            workspace = await self.workspace(workspace_id)
            assert workspace.claim.HasField("applied_at"), f"{workspace}"
            return workspace

        return await eventually(look, seconds=seconds)

    def home(self, workspace_id: str) -> Path:
        """Where the workspace's scripts run."""
        return self.layout.workspaces / workspace_id / "home"

    def runs(self, workspace_id: str) -> list[str]:
        """Whom the start script ran for, in order, as it noted in the workspace."""
        path = self.home(workspace_id) / RUNS_FILE
        return path.read_text().split() if path.exists() else []

    def agent_pid(self, workspace_id: str, agent: str = "main") -> int:
        """The agent's process id."""
        note = self.layout.workspaces / workspace_id / "agents" / agent / "agent.pid"
        return int(note.read_text())

    def agent_log(self, workspace_id: str, agent: str = "main") -> str:
        """What the agent has written."""
        log = self.layout.workspaces / workspace_id / "agents" / agent / "agent.log"
        return log.read_text(errors="replace")

    def agent_environment(self, workspace_id: str, agent: str = "main") -> dict[str, str]:
        """What the agent was started with, its token among it."""
        raw = Path(f"/proc/{self.agent_pid(workspace_id, agent)}/environ").read_bytes()
        pairs = (entry.decode(errors="replace").partition("=") for entry in raw.split(b"\0"))
        return {name: value for name, _, value in pairs if name}

    def kill_agent(self, workspace_id: str, agent: str = "main") -> None:
        """Ends an agent as a crash does; it is gone when this returns. Nothing starts it again but
        a build or `start_agent`.
        """
        pid = self.agent_pid(workspace_id, agent)
        ending = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(ending, signal.SIGKILL)
            gone, _, _ = select.select([ending], [], [], CALL_SECONDS)
        finally:
            os.close(ending)
        assert gone, f"agent {pid} does not end"

    async def restart_agent(self, workspace_id: str, agent: str = "main") -> int:
        """Ends an agent with all that it started, as a crash of its machine does, and starts it
        again; its new process id.
        """
        private = self.layout.workspaces / workspace_id / "agents" / agent
        process = Path(f"/proc/{self.agent_pid(workspace_id, agent)}")
        command = process.joinpath("cmdline").read_text().rstrip("\0").split("\0")
        environment = self.agent_environment(workspace_id, agent)
        self.kill_agent(workspace_id, agent)  # first, so that it sees none of the others end
        signal_all(
            carriers_of("WARMPOOL_AGENT_ID", environment["WARMPOOL_AGENT_ID"]), signal.SIGKILL
        )
        return await start_agent(
            command, directory=self.home(workspace_id), private=private, env=environment
        )


@asynccontextmanager
async def run_system(
    directory: Path,
    extra: Mapping[str, Mapping[str, str]] | None = None,
    *,
    pauses: Mapping[str, Mapping[str, str]] = SHORT_PAUSES,
) -> AsyncGenerator[RunningSystem]:
    """Runs one below the directory. `extra` is more environment, by service, and so are `pauses`;
    without those every service waits as long as it does for people.

    Leave and enter it on the main thread and in one event loop: the supervisor's timers live there.
    """
    layout = Layout(directory)
    settings = LocalSettings(port=find_free_port(), agent_port=find_free_port())
    async with run_local_system(
        layout,
        settings,
        environ=os.environ,
        clock=SystemClock(),
        report=lambda _step, _seconds: None,
        note=lambda _line: None,
        service_environ={
            name: {**pauses.get(name, {}), **(extra or {}).get(name, {})}
            for name in ("reconciler", "provisionerd", "agentgw")
        },
    ) as local:
        yield RunningSystem(
            layout=layout,
            settings=settings,
            client=local.client,
            supervisor=local.supervisor,
            nats=OwnNats(local.nats),
            postgres=local.postgres,
        )
