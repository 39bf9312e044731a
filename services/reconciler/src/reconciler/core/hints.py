"""What the edges say after a commit, so that whoever waits looks sooner. Losing one costs latency,
never correctness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

__all__ = ["Hints", "Promise"]


@dataclass(frozen=True, slots=True)
class Promise:
    """A row of the outbox: what a committed transaction promised to say on the bus."""

    id: int
    subject: str
    payload: bytes


class Hints(Protocol):
    """Tells loops and other replicas where to look. Never blocks, never fails."""

    def job_posted(self, organization_id: UUID, job_id: UUID, provisioner_type: str) -> None:
        """A job waits for a worker."""
        ...

    def pool_changed(self, preset_id: UUID, reason: str) -> None:
        """A pool may need work."""
        ...

    def workspace_changed(self, workspace_id: UUID) -> None:
        """Whoever watches this workspace should look."""
        ...

    def outbox_written(self, promise: Promise) -> None:
        """Something is to be said on the bus."""
        ...
