"""What an earlier run on this machine left: its agents ended with it, and nothing revives them."""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio

from warmpool.common.v1.types_pb2 import Transition
from warmpool.control.v1.pools_pb2 import InvalidatePoolRequest, ListPoolsRequest
from warmpool.control.v1.workspaces_pb2 import ListWorkspacesRequest
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.render.words import counted

__all__ = ["renew_pools"]

PAGE_SIZE = 500


async def renew_pools(client: Client, note: Callable[[str], None]) -> None:
    """Has every prebuild of an earlier run replaced, and says which workspaces need a start.

    Until then the control plane believes for a while that their agents are connected, and would
    hand them out. What it refuses is said and keeps nothing from starting.
    """
    try:
        await _renew(client, note)
    except grpc.aio.AioRpcError as error:
        note(f"the pools of the run before were not renewed: {error.details()}")


async def _renew(client: Client, note: Callable[[str], None]) -> None:
    pools = await client.pools.ListPools(ListPoolsRequest(), timeout=CALL_TIMEOUT_SECONDS)
    replaced = 0
    for template in sorted({pool.template_name for pool in pools.pools}):
        answer = await client.pools.InvalidatePool(
            InvalidatePoolRequest(template=template), timeout=CALL_TIMEOUT_SECONDS
        )
        replaced += answer.invalidated
    if replaced:
        note(f"{counted(replaced, 'prebuild')} of the run before: being replaced")
    if not pools.pools:
        return
    listed = await client.workspaces.ListWorkspaces(
        ListWorkspacesRequest(owner="*", page_size=PAGE_SIZE), timeout=CALL_TIMEOUT_SECONDS
    )
    asleep = [
        f"{workspace.owner_name}/{workspace.name}"
        for workspace in listed.workspaces
        if workspace.agents and workspace.latest_build.transition == Transition.TRANSITION_START
    ]
    if asleep:
        more = " and more" if listed.next_page_token else ""
        note(
            f"{counted(len(asleep), 'workspace')}{more} of the run before without an agent; each "
            f"comes back by `warmpool stop {asleep[0]}`, then `warmpool start {asleep[0]}`"
        )
