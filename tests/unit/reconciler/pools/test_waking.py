"""When the next look is due though nobody says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    MemberRow,
    PoolSettings,
    PoolSnapshot,
    PresetRow,
    RestingPool,
    ScheduleRow,
    Transition,
    find_claim_steps,
    plan,
    wait_seconds,
)

Pool = Any  # PoolBench of conftest
NOON = ScheduleRow(cron="* 13 * * *", instances=4)
MILLISECOND = timedelta(milliseconds=1)


def wake(pool: Pool, preset: PresetRow, *members: MemberRow, **facts: object) -> object:
    return pool.plan_all(preset, *members, **facts).look_again_at


def test_a_quiet_pool_waits_for_nothing(pool: Pool) -> None:
    assert wake(pool, pool.preset(), pool.member(1)) is None


def test_a_schedule_wakes_when_its_hour_begins(pool: Pool) -> None:
    preset = pool.preset(schedules=(NOON,))
    assert wake(pool, preset, pool.member(1)) == pool.now + timedelta(hours=1)


def test_a_schedule_of_another_hour_does_not_wake(pool: Pool) -> None:
    preset = pool.preset(schedules=(ScheduleRow(cron="* 15 * * *", instances=4),))
    assert wake(pool, preset, pool.member(1)) is None


def test_hours_begin_with_the_zone(pool: Pool) -> None:
    preset = pool.preset(
        timezone="Asia/Kolkata", schedules=(ScheduleRow(cron="* 18 * * *", instances=4),)
    )
    assert wake(pool, preset, pool.member(1)) == pool.now + timedelta(minutes=30)


def test_a_missing_member_wakes_when_its_backoff_ends(pool: Pool) -> None:
    history = pool.history(
        recent_failure_count=2, consecutive_failure_count=2, last_failed_at=pool.ago(30)
    )
    preset = pool.preset(instances=2)
    assert wake(pool, preset, pool.member(1), history=history) == pool.now + timedelta(seconds=90)
    assert wake(pool, pool.preset(), pool.member(1), history=history) is None


def test_the_oldest_member_wakes_when_it_expires(pool: Pool) -> None:
    preset = pool.preset(instances=2, ttl_seconds=3600)
    due = wake(pool, preset, pool.member(5), pool.member(50))
    assert due == pool.now + timedelta(minutes=10) + MILLISECOND
    at_due = PoolSnapshot(
        taken_at=pool.now + timedelta(minutes=10) + MILLISECOND,
        presets=(preset,),
        members=(pool.member(5), pool.member(50)),
    )
    assert plan(at_due, PoolSettings()).actions != ()


def test_a_pool_at_rest_wakes_like_any_other(pool: Pool) -> None:
    preset = pool.preset(ttl_seconds=3600, schedules=(NOON,), instances=1)
    resting = RestingPool(preset=preset, member_count=1, oldest_created_at=pool.ago(3000))
    snapshot = PoolSnapshot(taken_at=pool.now, presets=(), members=(), resting=(resting,))
    look_again_at = plan(snapshot, PoolSettings()).look_again_at
    assert look_again_at == pool.now + timedelta(minutes=10) + MILLISECOND


def test_an_unready_member_wakes_when_its_time_is_up(pool: Pool) -> None:
    member = pool.unready(1)
    assert member.started_at is not None
    due = member.started_at + timedelta(seconds=1800) + MILLISECOND
    assert wake(pool, pool.preset(), member) == due


def test_a_member_that_may_be_lost_wakes_when_its_time_is_up(pool: Pool) -> None:
    member = pool.member(40, is_ready=False, unready_since=pool.ago(100))
    snapshot = pool.snapshot(pool.preset(), member)
    heard = [
        plan(replace(snapshot, hearing_since=since), PoolSettings()).look_again_at
        for since in (pool.ago(9999), pool.ago(40), None)
    ]
    assert heard == [
        pool.now + timedelta(seconds=500) + MILLISECOND,
        pool.now + timedelta(seconds=560) + MILLISECOND,
        None,
    ]
    at_due = replace(snapshot, taken_at=heard[0], hearing_since=pool.ago(9999))
    assert plan(at_due, PoolSettings()).actions != ()


def test_a_failed_deletion_wakes_when_it_is_due(pool: Pool) -> None:
    member = pool.member(
        1,
        transition=Transition.DELETE,
        job=JobStatus.FAILED,
        delete_failure_count=2,
        delete_failed_at=pool.ago(20),
    )
    assert wake(pool, pool.preset(instances=0), member) == pool.now + timedelta(seconds=100)


@pytest.mark.parametrize(
    ("due_in", "tick", "expected"),
    [(None, 15, 15), (30, 15, 15), (4, 15, 4), (-4, 15, 0), (None, 5400, 3600)],
)
def test_the_wait_is_bounded_by_tick_and_hour(
    due_in: float | None, tick: float, expected: float
) -> None:
    now = datetime(2027, 3, 1, 12, tzinfo=UTC)
    due = None if due_in is None else now + timedelta(seconds=due_in)
    assert wait_seconds(due, now, tick) == expected


def test_a_claim_step_belongs_to_the_span_in_which_it_ended(pool: Pool) -> None:
    moments = (pool.ago(10), pool.ago(9), pool.ago(5), None, None)
    spans = [(20, 9), (9, 5), (5, 0), (20, 0)]
    steps = [
        [
            (step.step, step.seconds, step.since_requested_seconds)
            for step in find_claim_steps(moments, after=pool.ago(after), until=pool.ago(until))
        ]
        for after, until in spans
    ]
    claimed, built = ("claimed", 1.0, 1.0), ("built", 4.0, 5.0)
    assert steps == [[claimed], [built], [], [claimed, built]]
