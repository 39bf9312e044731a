"""What must work whichever releases the services and the agents are of.

One `scenario` is run for every pairing. It claims a prebuild that the pairing before made, pushes a
template, lets its pool warm, claims from it, and deletes; for agents of each release at once. Every
claim must reach its agent by a hint, in the form the reconciler was told to write, and be applied
once; what was claimed in the pairing before must not have been touched since.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from bus.nats import connect_nats
from bus.subjects import CLAIMS_ALL, parse_claims_subject
from testkit.eventually import eventually
from testkit.releases import Code
from testkit.rollout import Rollout, Service, agent_setup
from testkit.system import RunningSystem
from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.system_pb2 import GetSystemRequest
from warmpool.control.v1.workspaces_pb2 import DeleteWorkspaceRequest, Workspace

__all__ = ["CLAIM_SECONDS", "Skew", "watch_skew"]

CLAIM_SECONDS: Final = 20.0
"""Far below the time between two sweeps, far above what a hint needs."""
PREBUILDS: Final = "prebuilds"
_TEMPLATE: Final = """
[workspace]
setup = "{setup}"
[[presets]]
name = "pool"
default = true
[presets.prebuilds]
instances = {size}

[[agents]]
name = "main"
[[agents.scripts]]
display_name = "Start"
run_on_start = true
script = "echo {{owner.username}} >> runs.log"
"""


@dataclass(slots=True, kw_only=True)
class Skew:
    """A rollout, what was claimed in it, and the hints that were heard. Made by `watch_skew`."""

    rollout: Rollout
    agents: tuple[Code, ...]
    """The code agents are of; each has a pool that stays."""
    hints: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    _pools: dict[str, str] = field(default_factory=dict[str, str])
    _kept: list[Workspace] = field(default_factory=list[Workspace])

    async def settle(self) -> None:
        """Returns when the control plane answers and knows a provisioner of the release that runs.

        Makes the pools that stay, the first time.
        """
        expected = self.rollout.running["provisionerd"]

        async def look() -> None:
            system = await self.rollout.system.client.system.GetSystem(
                GetSystemRequest(), timeout=CLAIM_SECONDS, wait_for_ready=True
            )
            assert is_of(system.version, self.rollout.running["reconciler"]), system.version
            assert any(is_of(each.version, expected) for each in system.provisioners), f"{system}"

        await eventually(look)
        for code in self.agents:
            await self.rollout.system.wait_warm(await self.pool_of(code))

    async def pool_of(self, code: Code) -> str:
        """The template whose pool of agents of this code stays; it is pushed the first time."""
        if code.name not in self._pools:
            self._pools[code.name] = await self._push(self.rollout.system, code, size=1)
        return self._pools[code.name]

    async def scenario(self, *, raw: bool = False) -> None:
        """Claims, pushes, claims and deletes, for agents of each release at once."""
        await self.settle()
        async with asyncio.TaskGroup() as group:
            for code in self.agents:
                group.create_task(self._live_through(code, raw=raw))
        await self._check_kept()

    async def crowd(self, system: RunningSystem, *, size: int) -> None:
        """So many claims at once, for agents of each release, in pools of their own."""
        for code in self.agents:
            template = await self._push(system, code, size=size)
            await system.wait_warm(template)
            async with asyncio.TaskGroup() as group:
                claiming = [group.create_task(system.claim(template)) for _ in range(size)]
            claimed = [claim.result() for claim in claiming]
            assert len(set(claimed)) == size
            async with asyncio.TaskGroup() as group:
                for workspace_id in claimed:
                    group.create_task(self._claimed(workspace_id, code, raw=False))

    async def claim_across(
        self, service: Service, code: Code, environ: dict[str, str] | None = None
    ) -> None:
        """Replaces a service; claims are made while the old one is gone and the new one is not
        there, and are applied all the same.
        """
        system = self.rollout.system
        await self.settle()
        await self.rollout.stop(service)
        claimed = [await system.claim(template) for template in self._pools.values()]
        await self.rollout.start(service, code, environ=environ)
        for workspace_id in claimed:
            await self._wait_applied(workspace_id)
            await self._delete(workspace_id)

    async def _live_through(self, code: Code, *, raw: bool) -> None:
        system = self.rollout.system
        carried = await system.claim(self._pools[code.name])
        self._kept.append(await self._claimed(carried, code, raw=raw))
        template = await self._push(system, code, size=1)
        await system.wait_warm(template)
        fresh = await system.claim(template)
        await self._claimed(fresh, code, raw=raw)
        await self._delete(fresh)
        await system.wait_warm(self._pools[code.name])

    async def _claimed(self, workspace_id: str, code: Code, *, raw: bool) -> Workspace:
        """The workspace, once the hint was heard in its form, and the agent has applied it."""
        workspace = await self._wait_applied(workspace_id)
        environment = self.rollout.system.agent_environment(workspace_id)
        assert environment["PYTHONPATH"] == code.python_path
        payloads = self.hints[workspace_id]
        assert payloads, "nothing was said on the bus"
        assert {is_raw(payload) for payload in payloads} == {raw}, f"{payloads}"
        return workspace

    async def _wait_applied(self, workspace_id: str) -> Workspace:
        workspace = await self.rollout.system.wait_applied(workspace_id, seconds=CLAIM_SECONDS)
        runs = self.rollout.system.runs(workspace_id)
        assert runs == [PREBUILDS, "admin"], f"{runs} {self.rollout.system.agent_log(workspace_id)}"
        return workspace

    async def _check_kept(self) -> None:
        """Who was claimed before has not been told again since; then they go, but the newest."""
        system = self.rollout.system
        for before in self._kept:
            assert system.runs(before.id) == [PREBUILDS, "admin"]
            now = await system.workspace(before.id)
            assert now.claim == before.claim
        while len(self._kept) > len(self.agents):
            await self._delete(self._kept.pop(0).id)

    async def _delete(self, workspace_id: str) -> None:
        system = self.rollout.system
        root = system.layout.workspaces / workspace_id
        await system.client.workspaces.DeleteWorkspace(
            DeleteWorkspaceRequest(workspace_id=workspace_id), timeout=CLAIM_SECONDS
        )

        async def look() -> None:
            workspace = await system.workspace(workspace_id)
            assert workspace.latest_build.job_status == JobStatus.JOB_STATUS_SUCCEEDED
            assert workspace.HasField("deleted_at")

        await eventually(look)
        assert not root.exists()

    async def _push(self, system: RunningSystem, code: Code, *, size: int) -> str:
        name = f"t-{uuid4().hex[:12]}"
        await system.push(name, _TEMPLATE.format(setup=agent_setup(code), size=size))
        return name


def is_of(version: str, code: Code) -> bool:
    """Whether a process that calls itself by this version runs this code."""
    return version.endswith("+previous") == bool(code.python_path)


def is_raw(payload: bytes) -> bool:
    """Whether a claim event is the bare reason rather than a JSON object."""
    try:
        return not isinstance(json.loads(payload), dict)
    except ValueError:
        return True


@asynccontextmanager
async def watch_skew(rollout: Rollout, *agents: Code) -> AsyncGenerator[Skew]:
    """Listens to every claim event for as long as the block runs."""
    skew = Skew(rollout=rollout, agents=agents)
    bus = await connect_nats(rollout.system.nats.url, name="skew")
    try:
        async with bus.subscribe(CLAIMS_ALL) as subscription, asyncio.TaskGroup() as group:

            async def listen() -> None:
                async for message in subscription:
                    workspace_id = parse_claims_subject(message.subject)
                    skew.hints.setdefault(workspace_id, []).append(message.payload)

            listening = group.create_task(listen())
            await bus.flush()
            yield skew
            listening.cancel()
    finally:
        await bus.close()
