"""Waits until a workspace is what was asked for, or says why it will not be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta

import grpc
import grpc.aio

from warmpool.common.v1.types_pb2 import JobStatus, Transition
from warmpool.control.v1.workspaces_pb2 import (
    WatchWorkspaceRequest,
    WatchWorkspaceResponse,
    Workspace,
)
from warmpool_cli.client import Client
from warmpool_cli.errors import OperationFailed
from warmpool_cli.flows.following import is_final
from warmpool_cli.flows.streams import Patience, read_stream
from warmpool_cli.render.words import agent_word, job_word, span, transition_word

__all__ = ["describe_progress", "is_built", "is_claim_applied", "wait_for_workspace"]

CLAIM_REASON = "claim"
"""Why the build of a claim was made; later builds of the workspace have other reasons."""
WatchCall = grpc.aio.UnaryStreamCall[WatchWorkspaceRequest, WatchWorkspaceResponse]


async def wait_for_workspace(
    client: Client,
    workspace: Workspace,
    is_done: Callable[[Workspace], bool],
    *,
    timeout_seconds: float,
    on_change: Callable[[Workspace], None] | None = None,
    patience: Patience | None = None,
) -> Workspace:
    """The workspace once `is_done` says so; it may raise to say that it never will.

    A workspace that goes away while it is being deleted counts as done. Raises OperationFailed
    when the time is up.
    """
    latest = workspace
    if is_done(latest):
        return latest
    changes = _changes(client, workspace.id, patience or Patience())
    try:
        async with asyncio.timeout(timeout_seconds), aclosing(changes):
            async for latest in changes:
                if on_change is not None:
                    on_change(latest)
                if is_done(latest):
                    return latest
    except TimeoutError:
        raise OperationFailed(
            f"workspace {latest.name} is not done after {timeout_seconds:.0f} s: "
            f"{describe_progress(latest)}",
            f"look with `warmpool show {latest.name}` and `warmpool logs {latest.name}`; "
            "the work itself goes on",
        ) from None
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND or not _is_deleting(latest):
            raise
        return latest
    if _is_deleting(latest):
        return latest
    raise OperationFailed(
        f"the control plane stopped telling about workspace {latest.name}: "
        f"{describe_progress(latest)}",
        f"look with `warmpool show {latest.name}`",
    )


def is_built(number: int) -> Callable[[Workspace], bool]:
    """Done when the build of that number, or a later one, has succeeded; raises if it failed."""

    def check(workspace: Workspace) -> bool:
        build = workspace.latest_build
        if workspace.HasField("deleted_at"):
            return True
        if build.number < number or not is_final(build.job_status):
            return False
        if build.job_status == JobStatus.JOB_STATUS_SUCCEEDED:
            return True
        raise OperationFailed(
            f"the {transition_word(build.transition)} build of {workspace.name} "
            f"{job_word(build.job_status)}: {build.job_error or 'no reason was given'}",
            f"read its log with `warmpool logs {workspace.name}`",
        )

    return check


def is_claim_applied(workspace: Workspace) -> bool:
    """Done when every agent runs under its new owner; raises if the claim failed."""
    if workspace.claim.error:
        raise OperationFailed(
            f"the claim of {workspace.name} failed: {workspace.claim.error}",
            f"read its log with `warmpool logs {workspace.name}`, "
            f"then try `warmpool start {workspace.name}`",
        )
    if workspace.claim.HasField("applied_at"):
        return True
    return is_built(1)(workspace) and not workspace.agents


def describe_progress(workspace: Workspace) -> str:
    """Where the latest build stands, and the claim if it is the claim's, in a phrase."""
    build = workspace.latest_build
    words = f"{transition_word(build.transition)} build {job_word(build.job_status)}"
    if build.job_status == JobStatus.JOB_STATUS_PENDING:
        if build.queue_position:
            words += f", {build.queue_position} before it"
        if build.expected_wait_seconds:
            words += f", about {span(timedelta(seconds=build.expected_wait_seconds))} to wait"
    if build.job_status != JobStatus.JOB_STATUS_SUCCEEDED or build.reason != CLAIM_REASON:
        return words
    if workspace.claim.HasField("applied_at"):
        return f"{words}, agent runs under its new owner"
    if workspace.claim.HasField("delivered_at"):
        return f"{words}, agent told, restarting under its new owner"
    agents = ", ".join(f"{agent.name} {agent_word(agent.lifecycle)}" for agent in workspace.agents)
    return f"{words}, agent not told yet" + (f" ({agents})" if agents else "")


async def _changes(
    client: Client, workspace_id: str, patience: Patience
) -> AsyncGenerator[Workspace]:
    def start() -> WatchCall:
        return client.workspaces.WatchWorkspace(WatchWorkspaceRequest(workspace_id=workspace_id))

    deleting = False
    async with aclosing(read_stream(start, lambda: deleting, patience)) as responses:
        async for response in responses:
            deleting = _is_deleting(response.workspace)
            yield response.workspace


def _is_deleting(workspace: Workspace) -> bool:
    return workspace.latest_build.transition == Transition.TRANSITION_DELETE
