"""Plans of arbitrary rows, held to a twin that counts without a census, strategies or a cap."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    Action,
    BackOffUntil,
    BuildHistory,
    CancelPendingCreations,
    CreatePrebuild,
    DeletePrebuild,
    DeleteReason,
    Loss,
    MarkHardLimited,
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
_POOL_OF_ONE = PresetRow(
    preset_id=_PRESET,
    preset_name="small",
    template_id=UUID(int=21),
    template_name="template",
    template_version_id=_VERSION,
    template_version_name="v1",
    organization_id=UUID(int=31),
    organization_name="default",
    is_version_active=True,
    instances=1,
)
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
        unready_since=st.none() | _moments,
        is_invalidated=st.sampled_from([*[False] * 6, True]),
    ),
    max_size=12,
    unique_by=lambda member: member.workspace_id,
)


losses = st.lists(
    st.tuples(st.integers(0, 150), st.integers(0, 60)).map(
        lambda minutes: Loss(
            created_at=_NOW - timedelta(minutes=sum(minutes)),
            lost_at=_NOW - timedelta(minutes=minutes[0]),
        )
    ),
    max_size=6,
)
hearings = st.none() | _moments | st.just(_NOW - timedelta(hours=9))


class Twin:
    """Sets of members, written down one by one."""

    def __init__(
        self, preset: PresetRow, rows: list[MemberRow], hearing_since: datetime | None = None
    ) -> None:
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
        desired = preset.instances if is_kept else 0
        settled = (ended - late) & usable
        unborn = {key for key in settled if not start[key].is_ready} & {
            key for key in settled if start[key].first_ready_at is None
        }
        dead = {
            key
            for key in settled - unborn
            if not start[key].is_ready
            and hearing_since is not None
            and start[key].unready_since is not None
            and all(
                moment < _NOW - timedelta(minutes=10)
                for moment in (hearing_since, start[key].unready_since, start[key].started_at)
                if moment is not None
            )
        }
        expected = settled | (building & usable)
        may_go = max(1, max(desired, len(expected)) // 2)
        may_go -= max(0, desired - len(expected)) + len(unborn | (building & usable))
        oldest = sorted(dead, key=lambda key: (start[key].created_at, key))
        self.lost = set(oldest[: max(0, may_go)])
        self.running = settled - self.lost
        supply = self.running | (building & usable)
        evidence = sorted(failed & usable, key=lambda key: (start[key].created_at, key))[-1:]
        excess = max(0, len(supply) - desired)
        self.must_go = (ended | failed) - usable | late | useless | failed - set(evidence)
        self.must_go |= self.lost
        self.must_cancel = self.cancellable - usable
        self.cancelled = min(excess, len(self.cancellable & usable))
        self.trimmed = min(excess - self.cancelled, max(0, len(self.running) - desired))
        self.created = max(0, desired - len(supply))
        self.eligible = {key for key in self.running if start[key].is_ready}


@settings(deadline=None, max_examples=400)
@given(preset=presets, rows=members, hearing_since=hearings)
def test_plans_agree_with_the_twin(
    preset: PresetRow, rows: list[MemberRow], hearing_since: datetime | None
) -> None:
    twin = Twin(preset, rows, hearing_since)
    snapshot = PoolSnapshot(
        taken_at=_NOW, presets=(preset,), members=tuple(rows), hearing_since=hearing_since
    )
    pool_plan = plan(snapshot, _SETTINGS)
    deleted = {a.workspace_id for a in pool_plan.actions if isinstance(a, DeletePrebuild)}
    cancelled = {
        workspace_id
        for action in pool_plan.actions
        if isinstance(action, CancelPendingCreations)
        for workspace_id in action.workspace_ids
    }
    created = sum(a.count for a in pool_plan.actions if isinstance(a, CreatePrebuild))
    given_up = {
        a.workspace_id
        for a in pool_plan.actions
        if isinstance(a, DeletePrebuild) and a.reason is DeleteReason.LOST
    }
    assert given_up == twin.lost
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


@settings(deadline=None, max_examples=300)
@given(
    losses=losses,
    proven=st.none() | st.integers(0, 200),
    resumed=st.none() | st.integers(0, 200),
    limit=st.integers(0, 4),
)
@example(
    losses=[Loss(created_at=_NOW - timedelta(minutes=minutes), lost_at=_NOW) for minutes in (0, 1)],
    proven=None,
    resumed=None,
    limit=0,
)
def test_creations_after_losses_agree_with_a_twin(
    losses: list[Loss], proven: int | None, resumed: int | None, limit: int
) -> None:
    minutes = {
        name: None if value is None else _NOW - timedelta(minutes=value)
        for name, value in (("proven", proven), ("resumed", resumed))
    }
    history = BuildHistory(
        preset_id=_PRESET, losses=tuple(losses), last_proven_at=minutes["proven"]
    )
    preset = replace(_POOL_OF_ONE, resumed_at=minutes["resumed"])
    snapshot = PoolSnapshot(taken_at=_NOW, presets=(preset,), members=(), histories=(history,))
    actions = plan(snapshot, replace(_SETTINGS, failure_hard_limit=limit)).actions

    beginning = _NOW - timedelta(days=9)
    seen = [loss for loss in losses if loss.lost_at > (minutes["resumed"] or beginning)]
    in_a_row = _longest([x for x in seen if x.lost_at > (minutes["proven"] or beginning)])
    again = _longest([x for x in seen if x.lost_at > _NOW - timedelta(hours=1)]) - 1
    waits_until = max((x.lost_at for x in seen), default=_NOW) + timedelta(minutes=again)
    expected: type[Action] = CreatePrebuild
    if 0 < limit <= in_a_row:
        expected = MarkHardLimited
    elif again > 0 and waits_until > _NOW:
        expected = BackOffUntil
    assert [type(action) for action in actions] == [expected]


def _longest(losses: list[Loss]) -> int:
    """Over every set of losses, the largest in which none began before another was over."""
    return max(
        size
        for size in range(len(losses) + 1)
        for some in combinations(sorted(losses, key=lambda x: (x.lost_at, x.created_at)), size)
        if all(one.lost_at <= other.created_at for one, other in pairwise(some))
    )


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
