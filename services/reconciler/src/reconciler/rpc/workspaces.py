"""Workspaces, for people and the CLI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from uuid import UUID

from reconciler.core.aftermath import announce
from reconciler.core.audit import AuditEntry
from reconciler.core.hints import Hints
from reconciler.core.identity import DEFAULT_ORGANIZATION_NAME, SYSTEM_USER_ID
from reconciler.core.jobs import JobStatus
from reconciler.core.parameters import read_parameters, require_valid
from reconciler.core.permissions import (
    UserPrincipal,
    may,
    may_delete,
    may_end_builds,
    organizations_where,
)
from reconciler.core.views import WorkspaceView
from reconciler.rpc.creation import Creation, Request, template_unknown
from reconciler.rpc.principals import calling_actor, calling_user, still_calling_user
from reconciler.rpc.waits import Waits, going_away
from reconciler.store.builds import JobEnds
from reconciler.store.jobs import JobQueue
from reconciler.store.offers import Offer, Offers
from reconciler.store.workspaces import JobView, Workspaces
from reconciler.wire.jobs import encode_line
from reconciler.wire.values import JOB_STATUSES, decode_parameters, decode_uuid
from reconciler.wire.workspaces import (
    POOL_MISS_MESSAGES,
    POOL_MISSES,
    decode_page_token,
    encode_page_token,
    encode_workspace,
)
from svckit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from svckit.system import Clock
from svckit.telemetry import current_traceparent
from warmpool.common.v1 import types_pb2 as common
from warmpool.control.v1 import workspaces_pb2 as pb
from warmpool.control.v1 import workspaces_pb2_grpc as rpc

__all__ = ["WorkspaceServicer"]

PAGE_SIZE = 100
PAGE_SIZE_MAX = 500
REQUEST_ID_CHARS_MAX = 64
LINES_PER_MESSAGE = 500
WATCH_POLL_SECONDS = 2.0
"""How long a lost hint can delay what a watcher sees."""
LOG_POLL_SECONDS = 0.5
TRANSITIONS = {common.TRANSITION_START: "start", common.TRANSITION_STOP: "stop"}


class WorkspaceServicer(rpc.WorkspaceServiceServicer):
    """Implements WorkspaceService."""

    def __init__(
        self,
        creation: Creation,
        offers: Offers,
        workspaces: Workspaces,
        queue: JobQueue,
        ends: JobEnds,
        hints: Hints,
        waits: Waits,
        clock: Clock,
        new_id: Callable[[], UUID],
        stopping: asyncio.Event,
    ) -> None:
        self._creation = creation
        self._offers = offers
        self._workspaces = workspaces
        self._queue = queue
        self._ends = ends
        self._hints = hints
        self._waits = waits
        self._clock = clock
        self._new_id = new_id
        self._stopping = stopping

    async def CreateWorkspace(
        self, request: pb.CreateWorkspaceRequest, context: object
    ) -> pb.CreateWorkspaceResponse:
        requested_at = self._clock.now()
        caller = calling_user()
        if len(request.request_id) > REQUEST_ID_CHARS_MAX or "\0" in request.request_id:
            raise InvalidArgument(
                f"request_id: {len(request.request_id)} characters, or one of them NUL;"
                f" at most {REQUEST_ID_CHARS_MAX} are allowed, and any but NUL",
                reason="REQUEST_ID_INVALID",
                field="request_id",
            )
        offer = await self._find_offer(request, caller)
        organization_id = offer.template.organization_id
        owner_id = await self._owner(request.owner, caller)
        _require(caller, "workspace.create", organization_id=organization_id, owner_id=owner_id)
        if owner_id == SYSTEM_USER_ID:
            raise InvalidArgument(
                f'owner: "{request.owner}" is the pool itself, which makes its own workspaces;'
                " name a person",
                reason="OWNER_IS_THE_POOL",
                field="owner",
            )
        if owner_id != caller.user_id:
            await self._require_member(request.owner, owner_id, organization_id)
        outcome = await self._creation.create(
            Request(
                organization=request.organization or DEFAULT_ORGANIZATION_NAME,
                template=request.template,
                version=request.version,
                preset=request.preset,
                parameters=decode_parameters(request.parameters),
                name=request.name,
                request_id=request.request_id,
                owner_id=owner_id,
                initiator_id=caller.user_id,
                requested_at=requested_at,
                traceparent=current_traceparent(),
            ),
            offer,
        )
        miss = outcome.pool_miss
        return pb.CreateWorkspaceResponse(
            workspace=encode_workspace(outcome.workspace),
            warm=miss is None,
            pool_miss=POOL_MISSES[miss] if miss else pb.POOL_MISS_UNSPECIFIED,
            pool_miss_message=POOL_MISS_MESSAGES[miss] if miss else "",
        )

    async def GetWorkspace(
        self, request: pb.GetWorkspaceRequest, context: object
    ) -> pb.GetWorkspaceResponse:
        caller = calling_user()
        if request.workspace_id:
            view = await self._get(request.workspace_id, "workspace.read", caller)
            return pb.GetWorkspaceResponse(workspace=encode_workspace(view))
        if not request.name:
            raise InvalidArgument(
                "name: empty; give workspace_id, or a name", reason="NAME_MISSING", field="name"
            )
        owner_id = await self._owner(request.owner, caller)
        found = await self._workspaces.list(
            self._clock.now(), owner_id=owner_id, name=request.name, include_system=True, limit=1
        )
        if not found or not _may(caller, "workspace.read", found[0]):
            raise NotFound(
                f'name: there is no workspace "{request.name[:64]}"',
                reason="WORKSPACE_UNKNOWN",
                field="name",
            )
        return pb.GetWorkspaceResponse(workspace=encode_workspace(found[0]))

    async def ListWorkspaces(
        self, request: pb.ListWorkspacesRequest, context: object
    ) -> pb.ListWorkspacesResponse:
        caller = calling_user()
        if request.page_size < 0 or request.page_size > PAGE_SIZE_MAX:
            raise InvalidArgument(
                f"page_size: {request.page_size}; 1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE}",
                reason="PAGE_SIZE_INVALID",
                field="page_size",
            )
        size = request.page_size or PAGE_SIZE
        everybody = request.owner == "*"
        found = await self._workspaces.list(
            self._clock.now(),
            owner_id=None if everybody else await self._owner(request.owner, caller),
            template=request.template or None,
            include_system=request.include_system,
            organization_ids=organizations_where(caller, "workspace.read"),
            caller_id=caller.user_id,
            sees_pools=may(caller, "workspace.read", owner_id=SYSTEM_USER_ID),
            before=decode_page_token(request.page_token),
            limit=size,
        )
        visible = [view for view in found if _may(caller, "workspace.read", view)]
        full = len(found) == size
        return pb.ListWorkspacesResponse(
            workspaces=map(encode_workspace, visible),
            next_page_token=encode_page_token(found[-1].created_at, found[-1].id) if full else "",
        )

    async def WatchWorkspace(
        self, request: pb.WatchWorkspaceRequest, context: object
    ) -> AsyncGenerator[pb.WatchWorkspaceResponse, None]:
        workspace_id = decode_uuid(request.workspace_id, "workspace_id")
        shown: WorkspaceView | None = None
        with self._waits.watching(workspace_id) as nudge:
            while not self._stopping.is_set():
                caller = await still_calling_user()
                view = await self._get(request.workspace_id, "workspace.read", caller)
                if view != shown:
                    shown = view
                    yield pb.WatchWorkspaceResponse(workspace=encode_workspace(view))
                if view.deleted_at is not None:
                    return
                await nudge.wait(WATCH_POLL_SECONDS)
        raise going_away()

    async def BuildWorkspace(
        self, request: pb.BuildWorkspaceRequest, context: object
    ) -> pb.BuildWorkspaceResponse:
        transition = TRANSITIONS.get(request.transition)
        if transition is None:
            raise InvalidArgument(
                "transition: must be TRANSITION_START or TRANSITION_STOP;"
                " to delete, call DeleteWorkspace",
                reason="TRANSITION_INVALID",
                field="transition",
            )
        caller = calling_user()
        view = await self._get(request.workspace_id, "workspace.update", caller)
        _refuse_prebuild(view)
        version_id, stored = await self._workspaces.find_version_parameters(
            view.template_id, request.version or None, view.version_id
        )
        previous = await self._workspaces.build_parameters(view.id)
        values = require_valid(
            read_parameters(stored), decode_parameters(request.parameters), previous
        )
        return pb.BuildWorkspaceResponse(
            workspace=encode_workspace(
                await self._queue_build(view, transition, version_id, values, caller)
            )
        )

    async def DeleteWorkspace(
        self, request: pb.DeleteWorkspaceRequest, context: object
    ) -> pb.DeleteWorkspaceResponse:
        caller = calling_user()
        view = await self._get(request.workspace_id, "workspace.read", caller)
        if not may_delete(caller, organization_id=view.organization_id, owner_id=view.owner_id):
            raise PermissionDenied(
                "to delete this you need workspace.update and workspace.delete here, or for a"
                " prebuild prebuilt_workspace.update and prebuilt_workspace.delete",
                reason="PERMISSION_DENIED",
            )
        audit = calling_actor(self._new_id()).entry(
            "workspace.delete",
            "workspace",
            view.id,
            organization_id=view.organization_id,
            name=view.name,
            owner=view.owner_name,
        )
        deleted = await self._queue_build(view, "delete", None, None, caller, audit)
        return pb.DeleteWorkspaceResponse(workspace=encode_workspace(deleted))

    async def WatchJobLogs(
        self, request: pb.WatchJobLogsRequest, context: object
    ) -> AsyncGenerator[pb.WatchJobLogsResponse, None]:
        job_id = decode_uuid(request.job_id, "job_id")
        after = request.after_sequence
        while not self._stopping.is_set():
            caller = await still_calling_user()
            # The status is read before the lines, so that the last lines of an ended job are seen.
            job = await self._workspaces.get_job(job_id)
            _require_job(caller, "workspace.read", job)
            lines = await self._queue.list_lines(job_id, after, LINES_PER_MESSAGE)
            final = JobStatus(job.status).is_final and len(lines) < LINES_PER_MESSAGE
            if lines or final or not request.follow:
                after = lines[-1].sequence if lines else after
                yield pb.WatchJobLogsResponse(
                    lines=map(encode_line, lines), job_status=JOB_STATUSES[job.status]
                )
            if final or (not request.follow and len(lines) < LINES_PER_MESSAGE):
                return
            if len(lines) < LINES_PER_MESSAGE:
                await self._clock.sleep(LOG_POLL_SECONDS)
        raise going_away()

    async def CancelJob(
        self, request: pb.CancelJobRequest, context: object
    ) -> pb.CancelJobResponse:
        caller = calling_user()
        job = await self._workspaces.get_job(decode_uuid(request.job_id, "job_id"))
        owner_id = job.owner_id or job.initiator_id
        if not may_end_builds(caller, organization_id=job.organization_id, owner_id=owner_id):
            raise _job_unknown(job)
        aftermath = await self._ends.cancel(job.id, self._clock.now())
        announce(self._hints, aftermath)
        return pb.CancelJobResponse(job_status=JOB_STATUSES[aftermath.status.value])

    async def _queue_build(
        self,
        view: WorkspaceView,
        transition: str,
        version_id: UUID | None,
        values: dict[str, str] | None,
        caller: UserPrincipal,
        audit: AuditEntry | None = None,
    ) -> WorkspaceView:
        queued = await self._workspaces.queue_build(
            view.id,
            view.owner_id,
            transition=transition,
            version_id=version_id,
            parameters=values,
            initiator_id=caller.user_id,
            build_id=self._new_id(),
            job_id=self._new_id(),
            traceparent=current_traceparent(),
            now=self._clock.now(),
            audit=audit,
        )
        self._hints.job_posted(queued.organization_id, queued.job_id, queued.provisioner_type)
        self._hints.workspace_changed(view.id)
        return await self._workspaces.get(view.id, self._clock.now())

    async def _get(
        self, workspace_id: str, permission: str, caller: UserPrincipal
    ) -> WorkspaceView:
        view = await self._workspaces.get(
            decode_uuid(workspace_id, "workspace_id"), self._clock.now()
        )
        if not _may(caller, "workspace.read", view):
            raise NotFound(
                f"there is no workspace {view.id}", reason="WORKSPACE_UNKNOWN", field="workspace_id"
            )
        _require(caller, permission, organization_id=view.organization_id, owner_id=view.owner_id)
        return view

    async def _find_offer(self, request: pb.CreateWorkspaceRequest, caller: UserPrincipal) -> Offer:
        if not request.template:
            raise InvalidArgument(
                "template: empty; name the template", reason="TEMPLATE_MISSING", field="template"
            )
        offer = await self._offers.find(
            request.organization or DEFAULT_ORGANIZATION_NAME, request.template, request.version
        )
        if offer is None or not may(
            caller, "template.read", organization_id=offer.template.organization_id
        ):
            raise template_unknown(request.template)
        return offer

    async def _require_member(self, name: str, owner_id: UUID, organization_id: UUID) -> None:
        if not await self._workspaces.is_member(organization_id, owner_id):
            raise FailedPrecondition(
                f'owner: "{name}" does not belong to the organization of the template, so they'
                " could not use the workspace; add them first",
                reason="NOT_A_MEMBER",
                field="owner",
            )

    async def _owner(self, username: str, caller: UserPrincipal) -> UUID:
        if not username or username in ("me", caller.username):
            return caller.user_id
        found = await self._workspaces.find_user_id(username)
        if found is None:
            raise NotFound(
                f'owner: there is no user "{username[:64]}"', reason="USER_UNKNOWN", field="owner"
            )
        return found


def _may(caller: UserPrincipal, permission: str, view: WorkspaceView) -> bool:
    return may(caller, permission, organization_id=view.organization_id, owner_id=view.owner_id)


def _require(
    caller: UserPrincipal, permission: str, *, organization_id: UUID, owner_id: UUID | None
) -> None:
    if not may(caller, permission, organization_id=organization_id, owner_id=owner_id):
        raise PermissionDenied(
            f"you lack the permission {permission} here", reason="PERMISSION_DENIED"
        )


def _require_job(caller: UserPrincipal, permission: str, job: JobView) -> None:
    if not may(
        caller,
        permission,
        organization_id=job.organization_id,
        owner_id=job.owner_id or job.initiator_id,
    ):
        raise _job_unknown(job)


def _job_unknown(job: JobView) -> NotFound:
    return NotFound(f"there is no job {job.id}", reason="JOB_UNKNOWN", field="job_id")


def _refuse_prebuild(view: WorkspaceView) -> None:
    if view.owner_id == SYSTEM_USER_ID:
        raise FailedPrecondition(
            "workspace_id: a prebuild belongs to its pool; it can be claimed or deleted, not built",
            reason="IS_A_PREBUILD",
            field="workspace_id",
        )
