"""Members that were only counted: what is planned is what would have been planned of every row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import event, given, settings
from hypothesis import strategies as st

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    BuildHistory,
    DeletePrebuild,
    MemberRow,
    PoolHealth,
    PoolSettings,
    PoolSnapshot,
    PresetRow,
    Transition,
    plan,
    read_figures,
)
from testkit.counted_members import count_alike

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
VERSION, OLDER = UUID(int=1), UUID(int=2)
PRESETS = UUID(int=11), UUID(int=12)
moments = st.integers(0, 7200).map(lambda seconds: NOW - timedelta(seconds=seconds))

presets = st.builds(
    PresetRow,
    preset_id=st.just(PRESETS[0]),
    preset_name=st.just("small"),
    template_id=st.just(UUID(int=21)),
    template_name=st.just("template"),
    template_version_id=st.just(VERSION),
    template_version_name=st.just("v1"),
    organization_id=st.just(UUID(int=31)),
    organization_name=st.just("default"),
    is_version_active=st.sampled_from([True, True, True, False]),
    instances=st.integers(0, 12),
    ttl_seconds=st.sampled_from([0, 3600]),
    last_invalidated_at=st.none() | st.none() | moments,
    health=st.sampled_from([PoolHealth.HEALTHY] * 4 + list(PoolHealth)),
    resumed_at=st.none() | moments,
    paused=st.sampled_from([*[False] * 6, True]),
)
members = st.lists(
    st.builds(
        MemberRow,
        workspace_id=st.integers(1, 10**9).map(lambda number: UUID(int=number)),
        preset_id=st.sampled_from([*[PRESETS[0]] * 4, *[PRESETS[1]] * 4, None]),
        template_version_id=st.sampled_from([*[VERSION] * 6, OLDER]),
        created_at=moments,
        build_number=st.just(1),
        transition=st.sampled_from([*[Transition.START] * 12, *Transition]),
        job=st.sampled_from([*[JobStatus.SUCCEEDED] * 12, *JobStatus]),
        is_picked_up=st.booleans(),
        is_ready=st.sampled_from([*[True] * 9, False]),
        started_at=moments,
        first_ready_at=st.none() | moments,
        unready_since=moments,
        is_invalidated=st.sampled_from([*[False] * 9, True]),
    ),
    max_size=24,
    unique_by=lambda member: member.workspace_id,
)
histories = st.builds(
    BuildHistory,
    preset_id=st.just(PRESETS[0]),
    recent_failure_count=st.integers(0, 3),
    consecutive_failure_count=st.integers(0, 3),
    last_failed_at=moments,
    last_failed_created_at=st.none() | moments,
    last_succeeded_created_at=st.none() | moments,
)


@settings(deadline=None, max_examples=500)
@given(
    pools=st.tuples(presets, presets),
    rows=members,
    history=st.none() | histories,
    in_flight_max=st.integers(0, 6),
)
def test_what_is_planned_is_what_every_row_would_have_led_to(
    pools: tuple[PresetRow, PresetRow],
    rows: list[MemberRow],
    history: BuildHistory | None,
    in_flight_max: int,
) -> None:
    whole = PoolSnapshot(
        taken_at=NOW,
        presets=(pools[0], replace(pools[1], preset_id=PRESETS[1], preset_name="other")),
        members=tuple(rows),
        histories=() if history is None else (history,),
        hearing_since=NOW - timedelta(hours=9),
    )
    policy = PoolSettings(jobs_in_flight_max=in_flight_max)
    short = count_alike(whole, in_flight_max)
    event(f"{len(short.counted)} kinds were counted")
    assert plan(short, policy) == plan(whole, policy)
    assert read_figures(short, policy) == read_figures(whole, policy)


def test_of_a_large_pool_that_lacks_one_no_ready_member_is_read() -> None:
    preset, row = a_pool(1000)
    rows = tuple(replace(row, workspace_id=UUID(int=number)) for number in range(999))
    snapshot = PoolSnapshot(taken_at=NOW, presets=(preset,), members=rows)
    assert count_alike(snapshot, 50).members == ()


def test_of_a_large_pool_that_is_outdated_as_many_are_read_as_may_go() -> None:
    preset, row = a_pool(1000)
    rows = tuple(replace(row, workspace_id=UUID(int=number)) for number in range(1000))
    old = replace(preset, is_version_active=False)
    whole = PoolSnapshot(taken_at=NOW, presets=(old,), members=rows)
    snapshot = count_alike(whole, 50)
    assert (len(snapshot.members), snapshot.counted[0].count) == (50, 950)
    (planned,) = plan(snapshot, PoolSettings(jobs_in_flight_max=50)).presets
    assert len([act for act in planned.actions if isinstance(act, DeletePrebuild)]) == 50
    assert (planned.withheld_deletions, planned.counts.expired) == (950, 1000)
    # AND if none may go now, it is known all the same that they are to
    (planned,) = plan(count_alike(whole, 0), PoolSettings(jobs_in_flight_max=0)).presets
    assert planned.withheld_deletions == 1000


def a_pool(size: int) -> tuple[PresetRow, MemberRow]:
    """A pool of that size, and what each of its members is like."""
    preset = PresetRow(
        preset_id=PRESETS[0],
        preset_name="large",
        template_id=UUID(int=21),
        template_name="template",
        template_version_id=VERSION,
        template_version_name="v1",
        organization_id=UUID(int=31),
        organization_name="default",
        is_version_active=True,
        instances=size,
    )
    member = MemberRow(
        workspace_id=UUID(int=1),
        preset_id=PRESETS[0],
        template_version_id=VERSION,
        created_at=NOW,
        build_number=1,
        transition=Transition.START,
        job=JobStatus.SUCCEEDED,
        is_ready=True,
        started_at=NOW,
    )
    return preset, member
