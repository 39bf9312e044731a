"""How a stream waits for news: a nudge for as long as it waits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from svckit.errors import Unavailable
from svckit.nudge import Nudge

__all__ = ["Waits", "going_away"]


class Waits(Protocol):
    """Nudges that are set when there may be something to see."""

    @property
    def job_hints(self) -> int:
        """How often it was said, here or elsewhere, that a job may be there."""
        ...

    def waiting_worker(self) -> AbstractContextManager[Nudge]:
        """Set when a job may be there."""
        ...

    def watching(self, workspace_id: UUID) -> AbstractContextManager[Nudge]:
        """Set when a workspace may have changed."""
        ...

    def watching_pools(self) -> AbstractContextManager[Nudge]:
        """Set when a pool may have changed."""
        ...


def going_away() -> Unavailable:
    """How a stream ends when its replica does: the caller opens it again elsewhere."""
    return Unavailable(
        "this server is going away; call again", reason="DRAINING", retry_after_seconds=0.2
    )
