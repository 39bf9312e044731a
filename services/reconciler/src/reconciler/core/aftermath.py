"""What the end of a job means to others."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from reconciler.core.hints import Hints, Promise
from reconciler.core.jobs import JobStatus

__all__ = ["Aftermath", "announce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """Who should look now that a job has ended or gone back. `requeued` is the provisioner type to
    wake, `promise` what the transaction promised to say.
    """

    job_id: UUID
    status: JobStatus
    organization_id: UUID
    workspace_id: UUID | None = None
    preset_ids: tuple[UUID, ...] = ()
    requeued: str = ""
    promise: Promise | None = None
    error: str = field(default="", repr=False)


def announce(hints: Hints, aftermath: Aftermath | None) -> None:
    """Hints for one job's end; None has been announced before."""
    if aftermath is None:
        return
    if aftermath.promise is not None:
        hints.outbox_written(aftermath.promise)
    if aftermath.requeued:
        hints.job_posted(aftermath.organization_id, aftermath.job_id, aftermath.requeued)
    if aftermath.workspace_id is not None:
        hints.workspace_changed(aftermath.workspace_id)
    for preset_id in aftermath.preset_ids:
        hints.pool_changed(preset_id, "job_finished")
