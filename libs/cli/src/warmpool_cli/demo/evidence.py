"""What can be seen from outside that a workspace changed hands.

The example's start script writes the owner it runs under into `owner.txt` in the workspace's
directory. It is read from the disk, not asked of the system that claims to have told the agent.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from svckit.system import Clock
from warmpool_cli.errors import OperationFailed

__all__ = ["wait_for_owner"]

OWNER_FILE = "owner.txt"
POLL_SECONDS = 0.05
WAIT_SECONDS = 15.0


async def wait_for_owner(
    workspaces: Path, workspace_id: str, owner: str, clock: Clock
) -> tuple[Path, str]:
    """The file and its text once it names the owner; OperationFailed if it never does."""
    seen = "no owner.txt"
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for path in sorted((workspaces / workspace_id).rglob(OWNER_FILE)):
                    seen = path.read_text(encoding="utf-8", errors="replace").strip()
                    if owner in seen.split():
                        return path, seen
                await clock.sleep(POLL_SECONDS)
    except TimeoutError:
        raise OperationFailed(
            f"the workspace {workspace_id} does not show its new owner {owner}: {seen}",
            "keep the directory with --keep and look into the workspace's agent.log",
        ) from None
