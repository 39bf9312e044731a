"""The subjects of the bus. Every identifier in one is a UUID, so that none can be a wildcard."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from bus.errors import SubjectInvalid

__all__ = [
    "CLAIMS_ALL",
    "JOBS_POSTED_ALL",
    "POOLS_CHANGED_ALL",
    "WORKSPACES_CHANGED_ALL",
    "claims_subject",
    "jobs_posted_subject",
    "parse_claims_subject",
    "parse_jobs_posted_subject",
    "parse_pools_changed_subject",
    "parse_workspaces_changed_subject",
    "pools_changed_subject",
    "workspaces_changed_subject",
]

CLAIMS: Final = "warmpool.v1.claims"
JOBS_POSTED: Final = "warmpool.v1.jobs.posted"
POOLS_CHANGED: Final = "warmpool.v1.pools.changed"
WORKSPACES_CHANGED: Final = "warmpool.v1.workspaces.changed"

CLAIMS_ALL: Final = f"{CLAIMS}.*"
JOBS_POSTED_ALL: Final = f"{JOBS_POSTED}.*"
POOLS_CHANGED_ALL: Final = f"{POOLS_CHANGED}.*"
WORKSPACES_CHANGED_ALL: Final = f"{WORKSPACES_CHANGED}.*"


def claims_subject(workspace_id: UUID | str) -> str:
    """Where a deliverable claim of this workspace is announced; SubjectInvalid if no UUID."""
    return f"{CLAIMS}.{_canonical(workspace_id)}"


def jobs_posted_subject(organization_id: UUID | str) -> str:
    """Where jobs of this organization are announced; SubjectInvalid if no UUID."""
    return f"{JOBS_POSTED}.{_canonical(organization_id)}"


def pools_changed_subject(preset_id: UUID | str) -> str:
    """Where changes of this preset's pool are announced; SubjectInvalid if no UUID."""
    return f"{POOLS_CHANGED}.{_canonical(preset_id)}"


def workspaces_changed_subject(workspace_id: UUID | str) -> str:
    """Where changes of this workspace are announced; SubjectInvalid if no UUID."""
    return f"{WORKSPACES_CHANGED}.{_canonical(workspace_id)}"


def parse_claims_subject(subject: str) -> str:
    """The workspace id in a claims subject; SubjectInvalid if it is none."""
    return _parse(CLAIMS, subject)


def parse_jobs_posted_subject(subject: str) -> str:
    """The organization id in a jobs subject; SubjectInvalid if it is none."""
    return _parse(JOBS_POSTED, subject)


def parse_pools_changed_subject(subject: str) -> str:
    """The preset id in a pools subject; SubjectInvalid if it is none."""
    return _parse(POOLS_CHANGED, subject)


def parse_workspaces_changed_subject(subject: str) -> str:
    """The workspace id in a workspaces subject; SubjectInvalid if it is none."""
    return _parse(WORKSPACES_CHANGED, subject)


def _parse(prefix: str, subject: str) -> str:
    head, _, last = subject.rpartition(".")
    if head != prefix:
        raise SubjectInvalid(f"subject {subject[:80]!r}: must be {prefix}.<id>")
    return _canonical(last)


def _canonical(identifier: UUID | str) -> str:
    text = str(identifier)
    try:
        parsed = UUID(text) if len(text) == 36 else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise SubjectInvalid(f"identifier {text[:80]!r}: must be a UUID with dashes")
    return str(parsed)
