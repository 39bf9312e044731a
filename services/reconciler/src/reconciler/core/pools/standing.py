"""Where one member stands: the one question all of the pool's decisions begin with.

Promises: every member has exactly one standing, whatever its rows say, so nothing is counted twice
and nothing is forgotten.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto

from reconciler.core.jobs import JobStatus
from reconciler.core.pools.actions import DeleteReason
from reconciler.core.pools.snapshot import MemberRow, PresetRow, Transition

__all__ = ["Standing", "find_lapse", "find_standing", "is_never_ready", "is_proven", "lost_after"]


class Standing(Enum):
    """Where a member stands, by its latest build and its agents."""

    PENDING = auto()
    """Its first build waits, in no worker's hands: it can vanish without a trace."""
    BUILDING = auto()
    """Being started, past the point where it could just vanish."""
    STOPPING = auto()
    """Being stopped, or its start is being cancelled."""
    DELETING = auto()
    """Being deleted."""
    READY = auto()
    """Started, every agent ready and connected."""
    UNREADY = auto()
    """Started, not every agent ready and connected."""
    FAILED = auto()
    """Its start failed."""
    HALTED = auto()
    """Stopped, or its start was cancelled, or its stop failed: of no use and no evidence."""
    DELETE_FAILED = auto()
    """Its deletion failed or was cancelled."""
    GONE = auto()
    """Deleted; the row is about to follow."""


def find_standing(member: MemberRow) -> Standing:
    """Where a member stands."""
    match member.transition, member.job:
        case Transition.START, JobStatus.SUCCEEDED:  # first, as most are here
            return Standing.READY if member.is_ready else Standing.UNREADY
        case Transition.START, JobStatus.PENDING:
            is_first = member.build_number == 1 and not member.is_picked_up
            return Standing.PENDING if is_first else Standing.BUILDING
        case Transition.START, JobStatus.RUNNING:
            return Standing.BUILDING
        case Transition.START, JobStatus.CANCELING:
            return Standing.STOPPING
        case Transition.START, JobStatus.FAILED:
            return Standing.FAILED
        case Transition.START, JobStatus.CANCELED:
            return Standing.HALTED
        case Transition.STOP, JobStatus.PENDING | JobStatus.RUNNING | JobStatus.CANCELING:
            return Standing.STOPPING
        case Transition.STOP, JobStatus.SUCCEEDED | JobStatus.FAILED | JobStatus.CANCELED:
            return Standing.HALTED
        case Transition.DELETE, JobStatus.PENDING | JobStatus.RUNNING | JobStatus.CANCELING:
            return Standing.DELETING
        case Transition.DELETE, JobStatus.FAILED | JobStatus.CANCELED:
            return Standing.DELETE_FAILED
        case Transition.DELETE, JobStatus.SUCCEEDED:
            return Standing.GONE


def find_lapse(member: MemberRow, preset: PresetRow, now: datetime) -> DeleteReason | None:
    """Why a member may not be given to anybody any more, None if it may."""
    if not preset.is_active or member.template_version_id != preset.template_version_id:
        return DeleteReason.OUTDATED
    asked_at = preset.last_invalidated_at
    if member.is_invalidated or (asked_at is not None and member.created_at < asked_at):
        return DeleteReason.INVALIDATED
    if preset.ttl_seconds > 0 and now - member.created_at > timedelta(seconds=preset.ttl_seconds):
        return DeleteReason.EXPIRED
    return None


def is_never_ready(member: MemberRow, now: datetime, timeout_seconds: float) -> bool:
    """Whether a started member had its time and its agents were never all ready."""
    return (
        member.first_ready_at is None
        and member.started_at is not None
        and now - member.started_at > timedelta(seconds=timeout_seconds)
    )


def is_proven(member: MemberRow, lookback_seconds: float) -> bool:
    """Whether a member that is not ready now was ready for so long that it was made well."""
    return (
        member.first_ready_at is not None
        and member.unready_since is not None
        and member.unready_since - member.first_ready_at >= timedelta(seconds=lookback_seconds)
    )


def lost_after(
    member: MemberRow, hearing_since: datetime | None, timeout_seconds: float
) -> datetime | None:
    """After when a started member that was ready once is lost, if its agents stay as they are; None
    if that cannot be told. A silence of all gateways says nothing about one agent, so the wait
    begins again when it ends.
    """
    if hearing_since is None or member.is_ready or member.first_ready_at is None:
        return None
    if member.started_at is None or member.unready_since is None:
        return None
    since = max(member.unready_since, member.started_at, hearing_since)
    return since + timedelta(seconds=timeout_seconds)
