"""What the pool knew at one moment: the rows a plan is made of.

Promises: immutable, and complete. Every preset that asks for a pool or still has a member is here,
and every workspace that the system user owns and that is not deleted, whatever its builds did; for
a pool at rest, its number stands for its members, and for ready members that are alike and that no
plan could name, theirs. A
workspace that has been claimed is not the system user's any more, so it can never appear, and so
no plan can touch it. `taken_at` is the only "now" a plan knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from reconciler.core.jobs import JobStatus

__all__ = [
    "BuildHistory",
    "CountedMembers",
    "Loss",
    "MemberRow",
    "PoolHealth",
    "PoolPause",
    "PoolSnapshot",
    "PresetRow",
    "RestingPool",
    "ScheduleRow",
    "Transition",
]


class Transition(Enum):
    """What a build does to its workspace."""

    START = "start"
    STOP = "stop"
    DELETE = "delete"


class PoolHealth(Enum):
    """Whether a preset's pool may create."""

    HEALTHY = "healthy"
    HARD_LIMITED = "hard_limited"
    VALIDATION_FAILED = "validation_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One schedule of a preset: `* HOURS DOM MONTHS DOW`, and the size while it is open."""

    cron: str
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetRow:
    """A preset and what its pool is asked to be. `instances` holds when no schedule is open.

    `is_version_active` says that the version is its template's active one; `is_template_retired`
    that the template is deleted or deprecated. `stop_reason` says why `health` is what it is,
    `resumed_at` is the last time somebody lifted a hard limit, `last_invalidated_at` the last time
    somebody asked for new members. `members_made` is how many the pool ever made.
    """

    preset_id: UUID
    preset_name: str
    template_id: UUID
    template_name: str
    template_version_id: UUID
    template_version_name: str
    organization_id: UUID
    organization_name: str
    is_version_active: bool
    is_template_retired: bool = False
    instances: int = 0
    ttl_seconds: int = 0
    schedules: tuple[ScheduleRow, ...] = ()
    timezone: str = ""
    health: PoolHealth = PoolHealth.HEALTHY
    resumed_at: datetime | None = None
    stop_reason: str = ""
    paused: bool = False
    last_invalidated_at: datetime | None = None
    members_made: int = 0

    @property
    def is_active(self) -> bool:
        """Whether the pool is to be kept; the members of any other preset are to go."""
        return self.is_version_active and not self.is_template_retired


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """A prebuild and its latest build.

    `preset_id` is None if the preset is gone. `is_picked_up` says that a worker has the job of the
    latest build, or had it. `is_ready` says that every agent of it is ready and connected, and that
    there is one. `started_at` is when the latest start build succeeded, `first_ready_at` when the
    agents of that build were first all ready, `unready_since` when the first of those that are not
    ready or not connected now ceased to be. `delete_failure_count` counts the deletions that
    failed in a row up to now, `delete_failed_at` is when the last of them did.
    """

    workspace_id: UUID
    preset_id: UUID | None
    template_version_id: UUID
    created_at: datetime
    build_number: int
    transition: Transition
    job: JobStatus
    is_picked_up: bool = True
    is_ready: bool = False
    started_at: datetime | None = None
    first_ready_at: datetime | None = None
    unready_since: datetime | None = None
    is_invalidated: bool = False
    delete_failure_count: int = 0
    delete_failed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedMembers:
    """Ready members of a preset that are alike: of one version, and the same is to be said against
    them, or nothing. There are `count` of them, `oldest` included. Others that are like them and
    older are among the members, as many as a plan may name.
    """

    oldest: MemberRow
    count: int
    newest_created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A member that was ready and was given up as lost before it had proved anything."""

    created_at: datetime
    lost_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildHistory:
    """How creations for one preset ended, those of members that were deleted or claimed included.

    A creation failed if the first build failed, or if the member was deleted as never ready.
    `recent_failure_count` counts failures that ended within the lookback before the snapshot,
    `consecutive_failure_count` those since the last success (at least up to the hard limit).
    `last_failed_at` is when the last failure ended; the two `_created_at` say when the newest
    failed and the newest succeeded member were created, which tells a probe from older builds.

    `losses` are late enough to count, of members that were ready for less than the lookback before
    their agents were gone. `last_proven_at` is when a member last was ready for that long, or
    served a claim to the end.
    """

    preset_id: UUID
    recent_failure_count: int = 0
    consecutive_failure_count: int = 0
    last_failed_at: datetime | None = None
    last_failed_created_at: datetime | None = None
    last_succeeded_created_at: datetime | None = None
    losses: tuple[Loss, ...] = ()
    last_proven_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PoolPause:
    """Who switched a pool off, and when."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RestingPool:
    """A pool with exactly the members it wants, all of them ready: nothing is to be decided."""

    preset: PresetRow
    member_count: int = 0
    oldest_created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """Every pool at one moment, read in one transaction. `paused` is the global switch.

    A preset is in `presets`, with its members in `members` and `counted`, or in `resting`.
    `hearing_since` is since when gateways have reported without a gap up to now, None if they do
    not: what agents do during a silence is not known. `foreign_organization_ids` are those that
    keep pools and of which the system user is no member.
    """

    taken_at: datetime
    presets: tuple[PresetRow, ...]
    members: tuple[MemberRow, ...]
    counted: tuple[CountedMembers, ...] = ()
    histories: tuple[BuildHistory, ...] = ()
    resting: tuple[RestingPool, ...] = ()
    paused: bool = False
    hearing_since: datetime | None = None
    foreign_organization_ids: tuple[UUID, ...] = ()
