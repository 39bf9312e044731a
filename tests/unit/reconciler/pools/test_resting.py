"""A pool said to rest is one for which nothing would have been decided from all its rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    BuildHistory,
    MemberRow,
    MemberTotals,
    PoolHealth,
    PoolSettings,
    PoolSnapshot,
    PresetRow,
    RestingPool,
    ScheduleRow,
    Transition,
    is_resting,
    plan,
    read_figures,
)

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
PRESET, VERSION = UUID(int=11), UUID(int=1)
moments = st.integers(0, 7200).map(lambda seconds: NOW - timedelta(seconds=seconds))

presets = st.builds(
    PresetRow,
    preset_id=st.just(PRESET),
    preset_name=st.just("small"),
    template_id=st.just(UUID(int=21)),
    template_name=st.just("template"),
    template_version_id=st.just(VERSION),
    template_version_name=st.just("v1"),
    organization_id=st.just(UUID(int=31)),
    organization_name=st.just("default"),
    is_version_active=st.sampled_from([True, True, True, False]),
    is_template_retired=st.sampled_from([False, False, False, True]),
    instances=st.integers(0, 3),
    ttl_seconds=st.sampled_from([0, 0, 3600]),
    last_invalidated_at=st.none() | moments,
    schedules=st.sampled_from(
        [
            (),
            (),
            (ScheduleRow(cron="* 12 * * *", instances=1),),
            (ScheduleRow(cron="* 3 * * *", instances=9),),
        ]
    ),
    timezone=st.sampled_from(["", "Europe/Berlin", "Nowhere/AtAll"]),
    health=st.sampled_from([PoolHealth.HEALTHY] * 4 + list(PoolHealth)),
    resumed_at=st.none() | moments,
    paused=st.sampled_from([False, False, False, True]),
)
members = st.lists(
    st.builds(
        MemberRow,
        workspace_id=st.integers(1, 10**9).map(lambda number: UUID(int=number)),
        preset_id=st.just(PRESET),
        template_version_id=st.sampled_from([*[VERSION] * 9, UUID(int=2)]),
        created_at=moments,
        build_number=st.just(1),
        transition=st.sampled_from([*[Transition.START] * 9, *Transition]),
        job=st.sampled_from([*[JobStatus.SUCCEEDED] * 12, *JobStatus]),
        is_ready=st.sampled_from([*[True] * 9, False]),
        started_at=moments,
        first_ready_at=st.none() | moments,
        is_invalidated=st.sampled_from([*[False] * 9, True]),
    ),
    max_size=3,
    unique_by=lambda member: member.workspace_id,
)
histories = st.none() | st.builds(
    BuildHistory,
    preset_id=st.just(PRESET),
    recent_failure_count=st.integers(0, 3),
    consecutive_failure_count=st.integers(0, 3),
    last_failed_at=moments,
    last_failed_created_at=moments,
    last_succeeded_created_at=st.none() | moments,
)


def count(rows: list[MemberRow]) -> MemberTotals | None:
    """What the database would count."""
    if not rows:
        return None
    return MemberTotals(
        preset_id=PRESET,
        total=len(rows),
        plain=sum(
            row.transition is Transition.START
            and row.job is JobStatus.SUCCEEDED
            and row.is_ready
            and not row.is_invalidated
            and row.template_version_id == VERSION
            for row in rows
        ),
        oldest_created_at=min(row.created_at for row in rows),
    )


@settings(deadline=None, max_examples=500)
@given(preset=presets, rows=members, history=histories)
def test_a_pool_at_rest_would_have_had_no_action(
    preset: PresetRow, rows: list[MemberRow], history: BuildHistory | None
) -> None:
    totals = count(rows)
    if not is_resting(preset, totals, history, NOW):
        return
    full = PoolSnapshot(
        taken_at=NOW,
        presets=(preset,),
        members=tuple(rows),
        histories=() if history is None else (history,),
    )
    pool = RestingPool(preset=preset)
    if totals is not None:
        pool = replace(pool, member_count=totals.total, oldest_created_at=totals.oldest_created_at)
    short = PoolSnapshot(taken_at=NOW, presets=(), members=(), resting=(pool,))
    long_plan, short_plan = plan(full, PoolSettings()), plan(short, PoolSettings())
    assert long_plan.actions == short_plan.actions == ()
    assert long_plan.presets_total == short_plan.presets_total == 1
    assert long_plan.jobs_in_flight == 0
    assert long_plan.look_again_at == short_plan.look_again_at
    assert read_figures(full, PoolSettings()) == read_figures(short, PoolSettings())


def test_a_full_pool_rests() -> None:
    preset = PresetRow(
        preset_id=PRESET,
        preset_name="small",
        template_id=UUID(int=21),
        template_name="template",
        template_version_id=VERSION,
        template_version_name="v1",
        organization_id=UUID(int=31),
        organization_name="default",
        is_version_active=True,
        instances=3,
    )
    full = MemberTotals(preset_id=PRESET, total=3, plain=3, oldest_created_at=NOW)
    past = BuildHistory(preset_id=PRESET, last_failed_at=NOW - timedelta(days=1))
    assert is_resting(preset, full, None, NOW)
    assert is_resting(preset, full, past, NOW)
    assert not is_resting(preset, replace(full, plain=2), None, NOW)
    assert not is_resting(replace(preset, instances=2), full, None, NOW)
    assert not is_resting(replace(preset, is_version_active=False), full, None, NOW)
    assert is_resting(replace(preset, is_version_active=False), None, None, NOW)
