"""Plans of arbitrary rows, held to a twin that counts without a census, strategies or a cap."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    CancelPendingCreations,
    CreatePrebuild,
    DeletePrebuild,
    MemberRow,
    PoolSettings,
    PoolSnapshot,
    PresetRow,
    Transition,
    can_skip_reconciliation,
    plan,
    preset_states,
)

_NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
_PRESET, _VERSION = UUID(int=11), UUID(int=1)
_SETTINGS = PoolSettings(jobs_in_flight_max=1000)
_moments = st.integers(0, 7200).map(lambda seconds: _NOW - timedelta(seconds=seconds))

presets = st.builds(
    PresetRow,
    preset_id=st.just(_PRESET),
    preset_name=st.just("small"),
    template_id=st.just(UUID(int=21)),
    template_name=st.just("template"),
    template_version_id=st.just(_VERSION),
    template_version_name=st.just("v1"),
    organization_id=st.just(UUID(int=31)),
    organization_name=st.just("default"),
    is_version_active=st.sampled_from([True, True, True, False]),
    is_template_retired=st.sampled_from([False, False, False, True]),
    instances=st.integers(0, 4),
    ttl_seconds=st.sampled_from([0, 3600]),
    last_invalidated_at=st.none() | st.none() | _moments,
    schedules=st.just(()),
)
members = st.lists(
    st.builds(
        MemberRow,
        workspace_id=st.integers(1, 10**9).map(lambda number: UUID(int=number)),
        preset_id=st.just(_PRESET),
        template_version_id=st.just(_VERSION),
        created_at=_moments,
        build_number=st.sampled_from([1, 1, 1, 2]),
        transition=st.sampled_from([*[Transition.START] * 6, *Transition]),
        job=st.sampled_from([*[JobStatus.SUCCEEDED, JobStatus.PENDING] * 3, *JobStatus]),
        is_picked_up=st.booleans(),
        is_ready=st.booleans(),
        started_at=_moments,
        first_ready_at=st.none() | _moments,
        is_invalidated=st.sampled_from([*[False] * 6, True]),
    ),
    max_size=12,
    unique_by=lambda member: member.workspace_id,
)


class Twin:
    """Sets of members, written down one by one."""

    def __init__(self, preset: PresetRow, rows: list[MemberRow]) -> None:
        is_kept = preset.is_version_active and not preset.is_template_retired
        invalid_before = preset.last_invalidated_at or datetime(1970, 1, 1, tzinfo=UTC)
        ttl = timedelta(seconds=preset.ttl_seconds or 10**9)
        usable = {
            row.workspace_id
            for row in rows
            if is_kept
            and not row.is_invalidated
            and row.created_at >= invalid_before
            and row.created_at >= _NOW - ttl
        }
        start = {row.workspace_id: row for row in rows if row.transition is Transition.START}
        ended = {key for key, row in start.items() if row.job is JobStatus.SUCCEEDED}
        late = {
            key
            for key in ended
            if not start[key].is_ready
            and start[key].first_ready_at is None
            and (start[key].started_at or _NOW) < _NOW - timedelta(minutes=30)
        }
        pending = {key for key, row in start.items() if row.job is JobStatus.PENDING}
        self.cancellable = {
            key for key in pending if start[key].build_number == 1 and not start[key].is_picked_up
        }
        building = {key for key, row in start.items() if row.job is JobStatus.RUNNING} | pending
        failed = {key for key, row in start.items() if row.job is JobStatus.FAILED}
        useless = {
            row.workspace_id
            for row in rows
            if row.job is JobStatus.CANCELED
            or (row.transition is not Transition.START and row.job is JobStatus.FAILED)
            or (row.transition is Transition.STOP and row.job is JobStatus.SUCCEEDED)
        }
        self.running = (ended - late) & usable
        supply = self.running | (building & usable)
        desired = preset.instances if is_kept else 0
        evidence = sorted(failed & usable, key=lambda key: (start[key].created_at, key))[-1:]
        excess = max(0, len(supply) - desired)
        self.must_go = (ended | failed) - usable | late | useless | failed - set(evidence)
        self.must_cancel = self.cancellable - usable
        self.cancelled = min(excess, len(self.cancellable & usable))
        self.trimmed = min(excess - self.cancelled, max(0, len(self.running) - desired))
        self.created = max(0, desired - len(supply))
        self.eligible = {key for key in self.running if start[key].is_ready}


@settings(deadline=None, max_examples=300)
@given(preset=presets, rows=members)
def test_plans_agree_with_the_twin(preset: PresetRow, rows: list[MemberRow]) -> None:
    twin = Twin(preset, rows)
    snapshot = PoolSnapshot(taken_at=_NOW, presets=(preset,), members=tuple(rows))
    pool_plan = plan(snapshot, _SETTINGS)
    deleted = {a.workspace_id for a in pool_plan.actions if isinstance(a, DeletePrebuild)}
    cancelled = {
        workspace_id
        for action in pool_plan.actions
        if isinstance(action, CancelPendingCreations)
        for workspace_id in action.workspace_ids
    }
    created = sum(a.count for a in pool_plan.actions if isinstance(a, CreatePrebuild))
    assert deleted >= twin.must_go
    assert deleted - twin.must_go <= twin.running
    assert len(deleted - twin.must_go) == twin.trimmed
    assert twin.must_cancel <= cancelled <= twin.cancellable
    assert len(cancelled - twin.must_cancel) == twin.cancelled
    assert created == twin.created
    ready_trimmed = (deleted - twin.must_go) & twin.eligible
    unready_kept = twin.running - twin.eligible - deleted
    assert not (ready_trimmed and unready_kept), "a ready one went before an unready one"
    if pool_plan.presets:
        assert pool_plan.presets[0].counts.eligible == len(twin.eligible)


@settings(deadline=None, max_examples=100)
@given(preset=presets, rows=members, maximum=st.integers(0, 12))
def test_a_cap_only_takes_away_and_creations_first(
    preset: PresetRow, rows: list[MemberRow], maximum: int
) -> None:
    snapshot = PoolSnapshot(taken_at=_NOW, presets=(preset,), members=tuple(rows))
    free = plan(snapshot, _SETTINGS)
    capped = plan(snapshot, replace(_SETTINGS, jobs_in_flight_max=maximum))
    started = [
        sum(1 for action in each.actions if isinstance(action, DeletePrebuild))
        for each in (free, capped)
    ]
    created = [
        sum(action.count for action in each.actions if isinstance(action, CreatePrebuild))
        for each in (free, capped)
    ]
    capacity = max(0, maximum - free.jobs_in_flight)
    assert started[1] == min(started[0], capacity)
    assert created[1] == min(created[0], capacity - started[1])
    kept = [a for a in capped.actions if not isinstance(a, CreatePrebuild)]
    assert [a for a in free.actions if a in kept] == kept


@settings(deadline=None, max_examples=100)
@given(preset=presets, rows=members, keep=st.booleans())
def test_what_is_skipped_would_have_had_no_action(
    preset: PresetRow, rows: list[MemberRow], *, keep: bool
) -> None:
    snapshot = PoolSnapshot(taken_at=_NOW, presets=(preset,), members=tuple(rows) if keep else ())
    (state,) = preset_states(snapshot, _SETTINGS)
    if can_skip_reconciliation(state):
        assert (state.missing, state.excess, state.census.lapsed) == (0, 0, ())
        assert plan(snapshot, _SETTINGS).is_noop
