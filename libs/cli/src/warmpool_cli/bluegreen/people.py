"""People who ask for workspaces all the time, and look at pools meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio

from svckit.system import Clock, new_id
from warmpool.control.v1.pools_pb2 import ListPoolsRequest
from warmpool.control.v1.workspaces_pb2 import CreateWorkspaceRequest
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.errors import OperationFailed
from warmpool_cli.flows.streams import Patience
from warmpool_cli.flows.waiting import is_claim_applied, wait_for_workspace

__all__ = ["People", "come_and_go"]

CLAIM_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class People:
    """What they asked for, and what came of it."""

    client: Client
    clock: Clock
    template: str
    asked: int = 0
    """Calls made: claims, streams that follow one, and looks at the pools."""
    claimed: dict[str, str] = field(default_factory=dict[str, str])
    """The claim's id of every workspace that came out of the pool, by the workspace's id."""
    cold: list[str] = field(default_factory=list[str])
    """Why a workspace did not come out of the pool."""
    doubled: int = 0
    """Workspaces that two people got."""
    lost: int = 0
    """Claims that no agent ever applied."""
    failures: list[str] = field(default_factory=list[str])
    """Requests that ended in an error."""

    async def claim(self) -> None:
        """One person: asks, and follows the workspace until it is theirs."""
        request = CreateWorkspaceRequest(template=self.template, request_id=str(new_id()))
        self.asked += 1
        try:
            answer = await self.client.workspaces.CreateWorkspace(
                request, timeout=CALL_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"CreateWorkspace: {error.code().name}: {error.details()}")
            return
        workspace = answer.workspace
        if not answer.warm:
            self.cold.append(answer.pool_miss_message)
            return
        self.doubled += workspace.id in self.claimed
        self.claimed[workspace.id] = workspace.claim.id
        self.asked += 1
        try:
            await wait_for_workspace(
                self.client,
                workspace,
                is_claim_applied,
                timeout_seconds=CLAIM_SECONDS,
                patience=Patience(clock=self.clock),
            )
        except OperationFailed:
            self.lost += 1
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"WatchWorkspace: {error.code().name}: {error.details()}")

    async def look(self) -> None:
        """One person looks at the pools."""
        self.asked += 1
        try:
            await self.client.pools.ListPools(
                ListPoolsRequest(template=self.template), timeout=CALL_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"ListPools: {error.code().name}: {error.details()}")


@asynccontextmanager
async def come_and_go(people: People, *, claims_per_second: float) -> AsyncGenerator[None]:
    """Claims and looks while the block runs; leaves when each has its answer."""
    leaving = asyncio.Event()

    async def come(group: asyncio.TaskGroup) -> None:
        pause = 1 / claims_per_second
        due = people.clock.monotonic()
        while not leaving.is_set():
            group.create_task(people.claim())
            group.create_task(people.look())
            due += pause  # not after the last one was served: they do not wait for each other
            await people.clock.sleep(max(0.0, due - people.clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        group.create_task(come(group))
        try:
            yield
        finally:
            leaving.set()
