"""The plan of one pass over every pool: facts in, actions out.

Promises: pure and total. The same snapshot gives the same plan, and one preset's odd rows do not
change another's plan. One pass deletes what must go and creates what is missing, so the desired
size holds after one cycle. Applied again and again, plans end in a no-op from any state. A paused
pool gets no action at all; claims and jobs under way go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reconciler.core.jobs import JobStatus
from reconciler.core.pools.actions import (
    Action,
    BackOffUntil,
    CancelPendingCreations,
    CreatePrebuild,
    DeletePrebuild,
    DeleteReason,
    MarkHardLimited,
    MarkHealthy,
)
from reconciler.core.pools.capacity import CreationWish, grant_creations, grant_deletions
from reconciler.core.pools.counts import PoolCounts, count_pool
from reconciler.core.pools.settings import PoolSettings
from reconciler.core.pools.snapshot import (
    BuildHistory,
    CountedMembers,
    MemberRow,
    PoolSnapshot,
    PresetRow,
)
from reconciler.core.pools.standing import Standing, find_standing
from reconciler.core.pools.state import PresetState
from reconciler.core.pools.strategies import STRATEGIES
from reconciler.core.pools.strategies.undeleted import deletion_due_at, is_deletion_due
from reconciler.core.pools.waking import find_expiry, find_schedule_change, find_wake

__all__ = ["PoolPlan", "PresetPlan", "can_skip_reconciliation", "plan", "preset_states"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetPlan:
    """What is to be done for one preset, and the numbers it was decided by.

    `withheld_creations` and `withheld_deletions` count what the cap put off to a later pass.
    `backoff_until` is when creation may go on, whether any is due or not; `schedule_error` says why
    the default size is used though there are schedules.
    """

    preset: PresetRow
    counts: PoolCounts
    actions: tuple[Action, ...]
    withheld_creations: int = 0
    withheld_deletions: int = 0
    backoff_until: datetime | None = None
    schedule_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """What is to be done. Presets without anything to look at are in `presets_total` only.

    `orphan_actions` are for members whose preset is gone. `jobs_in_flight` was counted before.
    `look_again_at` is when time alone may make another plan of the same rows; a pool whose plan has
    an action is looked at before that anyway.
    """

    taken_at: datetime
    presets_total: int
    presets: tuple[PresetPlan, ...] = ()
    orphan_actions: tuple[Action, ...] = ()
    jobs_in_flight: int = 0
    look_again_at: datetime | None = None
    paused: bool = False

    @property
    def presets_reconciled(self) -> int:
        """How many presets were looked at."""
        return len(self.presets)

    @property
    def is_noop(self) -> bool:
        """Whether there is no action. Something may still fall due later, such as a retry."""
        return not self.orphan_actions and not any(preset.actions for preset in self.presets)

    @property
    def actions(self) -> tuple[Action, ...]:
        """Every action, in the order to apply them: marks, cancellations, deletions, creations."""
        everything = (*self.orphan_actions, *(a for preset in self.presets for a in preset.actions))
        return tuple(sorted(everything, key=_rank))


def plan(snapshot: PoolSnapshot, settings: PoolSettings) -> PoolPlan:
    """What to do about a snapshot."""
    total = len(snapshot.presets) + len(snapshot.resting)
    jobs_in_flight = sum(1 for member in snapshot.members if member.job in _IN_FLIGHT)
    if snapshot.paused:
        return PoolPlan(
            taken_at=snapshot.taken_at,
            presets_total=total,
            jobs_in_flight=jobs_in_flight,
            paused=True,
        )
    states = [
        state
        for state in preset_states(snapshot, settings)
        if not (state.preset.paused or can_skip_reconciliation(state))
    ]
    orphans = _find_orphans(snapshot)
    drafts: list[list[Action]] = [
        [action for strategy in STRATEGIES for action in strategy(state)] for state in states
    ]
    wanted = [list(_plan_orphans(orphans, snapshot.taken_at, settings)), *drafts]
    capacity = max(0, settings.jobs_in_flight_max - jobs_in_flight)
    granted = grant_deletions(wanted, capacity)
    capacity -= sum(
        1 for draft in granted for action in draft if isinstance(action, DeletePrebuild)
    )
    wishes = [
        CreationWish(action.preset_id, action.count, state.census.supply_count, state.desired)
        for state, draft in zip(states, drafts, strict=True)
        for action in draft
        if isinstance(action, CreatePrebuild)
    ]
    creations = grant_creations(wishes, capacity)
    return PoolPlan(
        taken_at=snapshot.taken_at,
        presets_total=total,
        presets=tuple(
            _close(state, draft, kept, creations.get(state.preset.preset_id))
            for state, draft, kept in zip(states, drafts, granted[1:], strict=True)
        ),
        orphan_actions=tuple(granted[0]),
        jobs_in_flight=jobs_in_flight,
        look_again_at=min(_wakes(snapshot, states, orphans, settings), default=None),
    )


def preset_states(snapshot: PoolSnapshot, settings: PoolSettings) -> Iterator[PresetState]:
    """Each preset with its members and its history, in the snapshot's order."""
    members: defaultdict[UUID | None, list[MemberRow]] = defaultdict(list)
    for member in snapshot.members:
        members[member.preset_id].append(member)
    counted: defaultdict[UUID | None, list[CountedMembers]] = defaultdict(list)
    for group in snapshot.counted:
        counted[group.oldest.preset_id].append(group)
    histories = {history.preset_id: history for history in snapshot.histories}
    for preset in snapshot.presets:
        preset_id = preset.preset_id
        yield PresetState(
            preset=preset,
            members=tuple(members.get(preset_id, ())),
            history=histories.get(preset_id) or BuildHistory(preset_id=preset_id),
            now=snapshot.taken_at,
            settings=settings,
            hearing_since=snapshot.hearing_since,
            counted=tuple(counted.get(preset_id, ())),
        )


def can_skip_reconciliation(state: PresetState) -> bool:
    """Whether a preset needs no look: not active, no member of any sort, nothing to wait for.

    Most presets of an old installation are like that, one for every version ever pushed.
    """
    return not (state.preset.is_active or state.members or state.counted or state.backoff_until)


_IN_FLIGHT = frozenset({JobStatus.PENDING, JobStatus.RUNNING, JobStatus.CANCELING})


def _wakes(
    snapshot: PoolSnapshot,
    states: Iterable[PresetState],
    orphans: Iterable[MemberRow],
    settings: PoolSettings,
) -> Iterator[datetime]:
    now = snapshot.taken_at
    for state in states:
        if wake_at := find_wake(state):
            yield wake_at
    for pool in snapshot.resting:
        if changes_at := find_schedule_change(pool.preset, now):
            yield changes_at
        if pool.oldest_created_at is not None and (
            expires_at := find_expiry(pool.preset, pool.oldest_created_at)
        ):
            yield expires_at
    for member in orphans:
        if find_standing(member) is Standing.DELETE_FAILED:
            due_at = deletion_due_at(member, settings)
            if due_at is not None and due_at > now:
                yield due_at


def _close(
    state: PresetState, draft: list[Action], kept: list[Action], creation: CreatePrebuild | None
) -> PresetPlan:
    wished = sum(action.count for action in draft if isinstance(action, CreatePrebuild))
    actions: list[Action] = [action for action in kept if not isinstance(action, CreatePrebuild)]
    if creation is not None:
        actions.append(creation)
    return PresetPlan(
        preset=state.preset,
        counts=count_pool(state),
        actions=tuple(actions),
        withheld_creations=wished - (0 if creation is None else creation.count),
        withheld_deletions=len(draft) - len(kept) + state.unnamed_deletion_count,
        backoff_until=state.backoff_until,
        schedule_error=state.schedule_error,
    )


def _find_orphans(snapshot: PoolSnapshot) -> list[MemberRow]:
    """Members whose preset is not in the snapshot."""
    known = {preset.preset_id for preset in snapshot.presets}
    return [member for member in snapshot.members if member.preset_id not in known]


def _plan_orphans(
    orphans: Iterable[MemberRow], now: datetime, settings: PoolSettings
) -> Iterator[Action]:
    """Members whose preset is gone have nobody to decide about them: they go."""
    for member in orphans:
        reason = DeleteReason.OUTDATED
        match find_standing(member):
            case Standing.PENDING:
                yield CancelPendingCreations(preset_id=None, workspace_ids=(member.workspace_id,))
                continue
            case Standing.BUILDING | Standing.STOPPING | Standing.DELETING | Standing.GONE:
                continue
            case Standing.DELETE_FAILED:
                if not is_deletion_due(member, now, settings):
                    continue
                reason = DeleteReason.DELETE_FAILED
            case Standing.READY | Standing.UNREADY | Standing.FAILED | Standing.HALTED:
                pass
        yield DeletePrebuild(preset_id=None, workspace_id=member.workspace_id, reason=reason)


def _rank(action: Action) -> int:
    match action:
        case MarkHardLimited() | MarkHealthy() | BackOffUntil():
            return 0
        case CancelPendingCreations():
            return 1
        case DeletePrebuild():
            return 2
        case CreatePrebuild():
            return 3
