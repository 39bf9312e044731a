"""What workspaces do by themselves, for people and the CLI: the rest of WorkspaceService."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from reconciler.core.hints import Hints
from reconciler.rpc.creation import Creation
from reconciler.rpc.principals import calling_actor, calling_user
from reconciler.rpc.waits import Waits
from reconciler.rpc.workspaces import WorkspaceServicer
from reconciler.store.builds import JobEnds
from reconciler.store.jobs import JobQueue
from reconciler.store.lifecycle import Lifecycles
from reconciler.store.offers import Offers
from reconciler.store.workspaces import Workspaces
from reconciler.wire.workspaces import decode_lifecycle_change, encode_workspace
from svckit.system import Clock
from warmpool.control.v1 import workspaces_pb2 as pb

__all__ = ["LivingWorkspaceServicer"]


class LivingWorkspaceServicer(WorkspaceServicer):
    """Implements all of WorkspaceService."""

    def __init__(
        self,
        creation: Creation,
        offers: Offers,
        workspaces: Workspaces,
        lifecycles: Lifecycles,
        queue: JobQueue,
        ends: JobEnds,
        hints: Hints,
        waits: Waits,
        clock: Clock,
        new_id: Callable[[], UUID],
        stopping: asyncio.Event,
    ) -> None:
        super().__init__(
            creation, offers, workspaces, queue, ends, hints, waits, clock, new_id, stopping
        )
        self._lifecycles = lifecycles

    async def SetWorkspaceLifecycle(
        self, request: pb.SetWorkspaceLifecycleRequest, context: object
    ) -> pb.SetWorkspaceLifecycleResponse:
        view = await self._get(request.workspace_id, "workspace.update", calling_user())
        change = decode_lifecycle_change(request)
        actor = calling_actor(self._new_id())
        await self._lifecycles.change(view.id, change, actor, self._clock.now())
        return pb.SetWorkspaceLifecycleResponse(workspace=await self._show(view.id))

    async def BumpWorkspace(
        self, request: pb.BumpWorkspaceRequest, context: object
    ) -> pb.BumpWorkspaceResponse:
        view = await self._get(request.workspace_id, "workspace.update", calling_user())
        await self._lifecycles.note_use(view.id, request.extend_seconds, self._clock.now())
        return pb.BumpWorkspaceResponse(workspace=await self._show(view.id))

    async def _show(self, workspace_id: UUID) -> pb.Workspace:
        self._hints.workspace_changed(workspace_id)
        return encode_workspace(await self._workspaces.get(workspace_id, self._clock.now()))
