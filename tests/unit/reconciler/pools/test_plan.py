"""What a pass does about one pool, case by case: given rows, then actions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    BackOffUntil,
    CancelPendingCreations,
    CreatePrebuild,
    DeletePrebuild,
    DeleteReason,
    MarkHardLimited,
    MarkHealthy,
    MemberRow,
    PoolCounts,
    PoolHealth,
    PoolSettings,
    PoolSnapshot,
    PresetPlan,
    ScheduleRow,
    Transition,
    can_skip_reconciliation,
    concurrency_limit,
    plan,
    preset_states,
)

Pool = Any  # the builders of conftest.py
_PRESET = UUID(int=11)


def create(count: int) -> CreatePrebuild:
    return CreatePrebuild(preset_id=_PRESET, count=count)


def delete(number: int, reason: DeleteReason) -> DeletePrebuild:
    return DeletePrebuild(preset_id=_PRESET, workspace_id=UUID(int=number), reason=reason)


def cancel(*numbers: int) -> CancelPendingCreations:
    return CancelPendingCreations(
        preset_id=_PRESET, workspace_ids=tuple(UUID(int=number) for number in numbers)
    )


def test_an_empty_pool_is_filled(pool: Pool) -> None:
    preset_plan = pool.plan_one(pool.preset(instances=3))
    assert preset_plan.actions == (create(3),)
    assert preset_plan.counts == PoolCounts(desired=3)


def test_a_full_pool_is_left_alone(pool: Pool) -> None:
    preset_plan = pool.plan_one(pool.preset(instances=2), pool.member(1), pool.unready(2))
    assert preset_plan.actions == ()
    assert preset_plan.counts == PoolCounts(desired=2, running=2, eligible=1)


def test_what_is_on_its_way_counts(pool: Pool) -> None:
    members = pool.member(1), pool.pending(2), pool.building(3)
    preset_plan = pool.plan_one(pool.preset(instances=4), *members)
    assert preset_plan.actions == (create(1),)
    assert preset_plan.counts == PoolCounts(desired=4, running=1, eligible=1, starting=2)


def test_expired_members_are_deleted_and_replaced_in_one_pass(pool: Pool) -> None:
    members = pool.member(61), pool.member(60), pool.member(59)
    preset_plan = pool.plan_one(pool.preset(instances=3, ttl_seconds=3600), *members)
    assert preset_plan.actions == (delete(61, DeleteReason.EXPIRED), create(1))
    assert preset_plan.counts == PoolCounts(desired=3, running=3, eligible=2, expired=1)


def test_invalidated_members_are_deleted_and_replaced_in_one_pass(pool: Pool) -> None:
    preset = pool.preset(instances=3, last_invalidated_at=pool.ago(120))
    members = pool.member(3), pool.member(2), pool.member(1, is_invalidated=True)
    assert pool.plan_one(preset, *members).actions == (
        delete(3, DeleteReason.INVALIDATED),
        delete(1, DeleteReason.INVALIDATED),
        create(2),
    )


def test_a_lapsed_creation_is_cancelled_or_left_to_finish_and_replaced_either_way(
    pool: Pool,
) -> None:
    preset = pool.preset(instances=2, last_invalidated_at=pool.now)
    assert pool.plan_one(preset, pool.pending(1), pool.building(2)).actions == (
        cancel(1),
        create(2),
    )


def test_members_of_an_inactive_version_go(pool: Pool) -> None:
    members = (
        pool.member(100),  # past its TTL, too
        pool.unready(1),
        pool.failed(2),
        pool.pending(3),
        pool.pending(4, is_picked_up=True),
        pool.pending(5, build_number=2),
        pool.building(6),
    )
    for changes in ({"is_version_active": False}, {"is_template_retired": True}):
        preset_plan = pool.plan_one(pool.preset(instances=5, ttl_seconds=3600, **changes), *members)
        assert preset_plan.actions == (
            cancel(3),
            delete(100, DeleteReason.OUTDATED),
            delete(2, DeleteReason.OUTDATED),
            delete(1, DeleteReason.OUTDATED),
        )
        assert preset_plan.counts == PoolCounts(
            desired=0, running=2, eligible=0, starting=4, failed=1, expired=2
        )


def test_extraneous_creations_are_cancelled_before_members_are_deleted(pool: Pool) -> None:
    members = pool.member(5), pool.member(4), pool.unready(3), pool.pending(2), pool.pending(1)
    assert [
        pool.plan_one(pool.preset(instances=instances), *members).actions
        for instances in (5, 4, 3, 2, 1, 0)
    ] == [
        (),
        (cancel(1),),
        (cancel(1, 2),),
        (cancel(1, 2), delete(3, DeleteReason.EXTRANEOUS)),
        (cancel(1, 2), delete(3, DeleteReason.EXTRANEOUS), delete(5, DeleteReason.EXTRANEOUS)),
        (
            cancel(1, 2),
            delete(3, DeleteReason.EXTRANEOUS),
            delete(5, DeleteReason.EXTRANEOUS),
            delete(4, DeleteReason.EXTRANEOUS),
        ),
    ]


def test_nothing_ready_is_given_up_for_what_is_being_built(pool: Pool) -> None:
    members = pool.member(2), pool.member(3), pool.building(1)
    assert pool.plan_one(pool.preset(instances=2), *members).actions == ()


def test_a_member_that_never_became_ready_is_recycled(pool: Pool) -> None:
    members = (
        pool.unready(3, started_at=pool.ago(1801)),
        pool.unready(2, started_at=pool.ago(1800)),
        pool.member(40, is_ready=False),  # was ready once, which is another matter
    )
    preset_plan = pool.plan_one(pool.preset(instances=3), *members)
    assert preset_plan.actions == (delete(3, DeleteReason.NEVER_READY), create(1))
    assert preset_plan.counts == PoolCounts(desired=3, running=3)


def lost(pool: Pool, number: int, seconds: float = 601) -> MemberRow:
    return pool.member(number, is_ready=False, unready_since=pool.ago(seconds))


def heard(pool: Pool, seconds: float | None, instances: int, *members: MemberRow) -> PresetPlan:
    snapshot = pool.snapshot(pool.preset(instances=instances), *members)
    hearing_since = None if seconds is None else pool.ago(seconds)
    (preset_plan,) = plan(replace(snapshot, hearing_since=hearing_since), PoolSettings()).presets
    return preset_plan


def test_a_member_that_was_ready_and_is_lost_is_replaced_in_one_pass(pool: Pool) -> None:
    members = lost(pool, 43), lost(pool, 42, 600), pool.member(41)
    preset_plan = heard(pool, 9999, 3, *members)
    assert preset_plan.actions == (delete(43, DeleteReason.LOST), create(1))
    assert preset_plan.counts == PoolCounts(desired=3, running=3, eligible=1)
    alone = heard(pool, 9999, 1, lost(pool, 40))
    assert alone.actions == (delete(40, DeleteReason.LOST), create(1))


@pytest.mark.parametrize(
    ("hearing_seconds", "changes", "is_lost"),
    [
        (601, {}, True),
        (600, {}, False),  # the wait begins again when gateways are heard again
        (None, {}, False),
        (9999, {"unready_since": None}, False),
        (9999, {"is_ready": True}, False),
        (9999, {"first_ready_at": None}, False),
        (9999, {"started_at": datetime(2027, 3, 1, 11, 50, tzinfo=UTC)}, False),
    ],
)
def test_nobody_is_lost_of_whom_nobody_could_have_heard(
    pool: Pool, hearing_seconds: float | None, changes: dict[str, Any], *, is_lost: bool
) -> None:
    member = replace(lost(pool, 29), **changes)
    actions = heard(pool, hearing_seconds, 1, member).actions
    assert actions == ((delete(29, DeleteReason.LOST), create(1)) if is_lost else ())


def test_at_most_half_of_a_pool_is_lost_until_replacements_are_ready(pool: Pool) -> None:
    everything = [lost(pool, number) for number in (45, 44, 43, 42, 41)]
    first = delete(45, DeleteReason.LOST), delete(44, DeleteReason.LOST)
    assert [
        heard(pool, 9999, 5, *everything).actions,
        heard(pool, 9999, 5, *everything[2:], pool.building(1), pool.pending(2)).actions,
        heard(pool, 9999, 5, *everything[2:], pool.unready(1), pool.member(2)).actions,
        heard(pool, 9999, 5, *everything[2:], pool.member(1), pool.member(2)).actions,
    ] == [
        (*first, create(2)),
        (),
        (delete(43, DeleteReason.LOST), create(1)),
        (delete(43, DeleteReason.LOST), delete(42, DeleteReason.LOST), create(2)),
    ]


def test_the_newest_failed_member_is_kept_and_does_not_count(pool: Pool) -> None:
    members = pool.failed(3), pool.failed(2), pool.failed(1)
    preset_plan = pool.plan_one(pool.preset(instances=1), *members)
    assert preset_plan.actions == (
        delete(3, DeleteReason.FAILED),
        delete(2, DeleteReason.FAILED),
        create(1),
    )
    assert preset_plan.counts == PoolCounts(desired=1, failed=3)


def test_what_halted_is_no_evidence(pool: Pool) -> None:
    halted = pool.unstarted(1, JobStatus.CANCELED)
    stopped = pool.member(2, transition=Transition.STOP)
    stopping = pool.member(3, transition=Transition.STOP, job=JobStatus.RUNNING)
    preset_plan = pool.plan_one(pool.preset(instances=1), halted, stopped, stopping)
    assert preset_plan.actions == (
        delete(2, DeleteReason.FAILED),
        delete(1, DeleteReason.FAILED),
        create(1),
    )
    assert preset_plan.counts == PoolCounts(desired=1, stopping=1, failed=2)


@pytest.mark.parametrize(
    ("failures", "seconds", "is_due"),
    [(1, 59, False), (1, 60, True), (3, 239, False), (3, 240, True), (99, 3600, True)],
)
def test_a_failed_deletion_is_tried_again_ever_more_slowly(
    pool: Pool, failures: int, seconds: int, *, is_due: bool
) -> None:
    member = pool.member(
        1,
        transition=Transition.DELETE,
        job=JobStatus.FAILED,
        delete_failure_count=failures,
        delete_failed_at=pool.ago(seconds),
    )
    preset_plan = pool.plan_one(pool.preset(instances=0), member)
    assert preset_plan.actions == ((delete(1, DeleteReason.DELETE_FAILED),) if is_due else ())
    assert preset_plan.counts == PoolCounts(deleting=1, delete_failed=1)


def test_deletions_under_way_delay_nothing(pool: Pool) -> None:
    deleting = pool.member(1, transition=Transition.DELETE, job=JobStatus.RUNNING)
    assert pool.plan_one(pool.preset(instances=1), deleting).actions == (create(1),)


def test_backoff_holds_back_creations_only(pool: Pool) -> None:
    history = pool.history(
        recent_failure_count=2, consecutive_failure_count=2, last_failed_at=pool.ago(119)
    )
    until = pool.now + timedelta(seconds=1)
    preset_plan = pool.plan_one(
        pool.preset(instances=1, ttl_seconds=3600), pool.member(100), history=history
    )
    assert preset_plan.actions == (
        delete(100, DeleteReason.EXPIRED),
        BackOffUntil(preset_id=_PRESET, until=until, failure_count=2),
    )
    assert preset_plan.backoff_until == until
    later = replace(history, last_failed_at=pool.ago(120))
    assert pool.plan_one(pool.preset(), history=later).actions == (create(1),)


def test_too_many_failures_in_a_row_stop_the_pool_once(pool: Pool) -> None:
    history = pool.history(consecutive_failure_count=3)
    limited = pool.preset(health=PoolHealth.HARD_LIMITED)
    assert pool.plan_one(pool.preset(), history=history).actions == (
        MarkHardLimited(preset_id=_PRESET, failure_count=3),
    )
    assert pool.plan_one(limited, history=history).actions == ()
    assert pool.plan_one(
        replace(limited, instances=0), pool.member(1), history=history
    ).actions == (delete(1, DeleteReason.EXTRANEOUS),)


def test_the_hard_limit_can_be_switched_off(pool: Pool) -> None:
    history = pool.history(consecutive_failure_count=30)
    settings = PoolSettings(failure_hard_limit=0)
    actions = [
        plan(pool.snapshot(pool.preset(health=health), history=history), settings).actions
        for health in (PoolHealth.HEALTHY, PoolHealth.HARD_LIMITED, PoolHealth.VALIDATION_FAILED)
    ]
    assert actions == [(create(1),), (MarkHealthy(preset_id=_PRESET), create(1)), ()]


def test_a_resumed_pool_makes_one_probe_and_waits_for_it(pool: Pool) -> None:
    failures = pool.history(
        recent_failure_count=5,
        consecutive_failure_count=5,
        last_failed_at=pool.ago(20),
        last_failed_created_at=pool.ago(90),
    )
    preset = pool.preset(instances=4, health=PoolHealth.HARD_LIMITED, resumed_at=pool.ago(10))
    probe = pool.building(0)
    older = pool.building(1)
    failed_again = replace(failures, last_failed_created_at=pool.ago(0))
    worked = replace(failures, last_succeeded_created_at=pool.ago(0), consecutive_failure_count=0)
    assert [
        pool.plan_one(preset, history=failures).actions,
        pool.plan_one(preset, older, history=failures).actions,
        pool.plan_one(preset, probe, history=failures).actions,
        pool.plan_one(preset, history=failed_again).actions,
        pool.plan_one(preset, pool.unready(0), history=worked).actions,
    ] == [(create(1),), (create(1),), (), (), (MarkHealthy(preset_id=_PRESET), create(3))]


def test_a_probe_whose_worker_was_lost_decides_nothing(pool: Pool) -> None:
    preset = pool.preset(instances=4, health=PoolHealth.HARD_LIMITED, resumed_at=pool.ago(90))
    before = pool.history(consecutive_failure_count=5, last_failed_created_at=pool.ago(95))
    lost, next_one = pool.failed(1), pool.building(0)
    assert [
        pool.plan_one(preset, lost, history=before).actions,
        pool.plan_one(preset, lost, next_one, history=before).actions,
    ] == [(create(1),), ()]


def test_a_pool_refused_by_validation_only_deletes(pool: Pool) -> None:
    preset = pool.preset(
        instances=2, health=PoolHealth.VALIDATION_FAILED, ttl_seconds=3600, resumed_at=pool.now
    )
    assert pool.plan_one(preset, pool.member(100)).actions == (delete(100, DeleteReason.EXPIRED),)


def test_a_paused_pool_gets_no_action(pool: Pool) -> None:
    members = pool.member(100), pool.pending(1), pool.building(2)
    preset = pool.preset(instances=5, ttl_seconds=3600)
    one = pool.plan_all(replace(preset, paused=True), *members)
    everything = plan(pool.snapshot(preset, *members, paused=True), PoolSettings())
    assert [
        (each.actions, each.presets_total, each.presets_reconciled, each.jobs_in_flight)
        for each in (one, everything)
    ] == [((), 1, 0, 2)] * 2
    assert (one.paused, everything.paused) == (False, True)


def test_members_whose_preset_is_gone_go(pool: Pool) -> None:
    orphan = {"preset_id": UUID(int=404)}
    pool_plan = pool.plan_all(
        pool.preset(instances=0),
        pool.member(1, **orphan),
        pool.member(2, preset_id=None),
        pool.pending(3, **orphan),
        pool.building(4, **orphan),
    )
    assert pool_plan.actions == (
        CancelPendingCreations(preset_id=None, workspace_ids=(UUID(int=3),)),
        *(
            DeletePrebuild(
                preset_id=None, workspace_id=UUID(int=number), reason=DeleteReason.OUTDATED
            )
            for number in (1, 2)
        ),
    )


@pytest.mark.parametrize(
    ("hour", "desired"),
    [(7, 1), (8, 4), (18, 4), (19, 1)],
    ids=["before", "first", "last", "after"],
)
def test_the_open_schedule_sets_the_size(pool: Pool, hour: int, desired: int) -> None:
    preset = pool.preset(
        schedules=(ScheduleRow(cron="* 8-18 * * 1-5", instances=4),), timezone="Europe/Berlin"
    )
    taken_at = datetime(2027, 3, 1, hour - 1, 59, 59, tzinfo=UTC)
    (preset_plan,) = plan(replace(pool.snapshot(preset), taken_at=taken_at), PoolSettings()).presets
    assert preset_plan.actions == (create(desired),)


def test_schedules_that_cannot_be_read_leave_the_default_and_are_reported(pool: Pool) -> None:
    bad = pool.preset(schedules=(ScheduleRow(cron="* 25 * * *", instances=4),))
    elsewhere = pool.preset(
        schedules=(ScheduleRow(cron="* * * * *", instances=4),), timezone="Mars/Olympus"
    )
    plans = [pool.plan_one(bad), pool.plan_one(elsewhere)]
    assert [(each.actions, each.schedule_error[:20]) for each in plans] == [
        ((create(1),), 'cron is "* 25 * * *"'),
        ((create(1),), 'timezone is "Mars/Ol'),
    ]


def test_deletions_take_the_capacity_first_and_retries_last(pool: Pool) -> None:
    stuck = pool.member(
        70, transition=Transition.DELETE, job=JobStatus.FAILED, delete_failed_at=pool.ago(9999)
    )
    members = stuck, pool.building(1), *(pool.member(number) for number in (90, 80))
    snapshot = pool.snapshot(pool.preset(instances=3, ttl_seconds=3600), *members)
    seen = [
        plan(snapshot, PoolSettings(jobs_in_flight_max=maximum)).presets[0]
        for maximum in (0, 2, 4, 5, 6)
    ]
    expired = delete(90, DeleteReason.EXPIRED), delete(80, DeleteReason.EXPIRED)
    retried = delete(70, DeleteReason.DELETE_FAILED)
    assert [(each.actions, each.withheld_deletions, each.withheld_creations) for each in seen] == [
        ((), 3, 2),
        (expired[:1], 2, 2),
        ((*expired, retried), 0, 2),
        ((*expired, retried, create(1)), 0, 1),
        ((*expired, retried, create(2)), 0, 0),
    ]


def test_what_fits_goes_to_the_emptiest_pools(pool: Pool) -> None:
    presets = tuple(
        pool.preset(preset_id=UUID(int=number), instances=instances)
        for number, instances in ((1, 100), (2, 2), (3, 4))
    )
    members = tuple(pool.member(number, preset_id=UUID(int=3)) for number in (1, 2))
    snapshot = PoolSnapshot(taken_at=pool.now, presets=presets, members=members)
    granted = plan(snapshot, PoolSettings(jobs_in_flight_max=10)).actions
    assert granted == (
        CreatePrebuild(preset_id=UUID(int=1), count=9),
        CreatePrebuild(preset_id=UUID(int=2), count=1),
    )


def test_actions_come_in_the_order_to_apply_them(pool: Pool) -> None:
    limited = pool.preset(preset_id=UUID(int=1))
    shrunk = pool.preset(preset_id=UUID(int=2), instances=0)
    snapshot = PoolSnapshot(
        taken_at=pool.now,
        presets=(pool.preset(), shrunk, limited),
        members=(
            pool.member(1, preset_id=UUID(int=2)),
            pool.pending(2, preset_id=UUID(int=2)),
        ),
        histories=(pool.history(preset_id=UUID(int=1), consecutive_failure_count=3),),
    )
    assert [type(action) for action in plan(snapshot, PoolSettings()).actions] == [
        MarkHardLimited,
        CancelPendingCreations,
        DeletePrebuild,
        CreatePrebuild,
    ]


def test_a_preset_is_skipped_only_if_there_is_nothing_to_look_at(pool: Pool) -> None:
    old = pool.preset(is_version_active=False)
    failing = pool.history(recent_failure_count=1, last_failed_at=pool.ago(1))
    snapshots = (
        pool.snapshot(old),
        pool.snapshot(pool.preset(instances=0)),
        pool.snapshot(old, pool.member(1)),
        pool.snapshot(old, pool.pending(1)),
        pool.snapshot(old, history=failing),
    )
    skipped = [
        can_skip_reconciliation(state)
        for snapshot in snapshots
        for state in preset_states(snapshot, PoolSettings())
    ]
    assert skipped == [True, False, False, False, False]
    pool_plan = plan(snapshots[0], PoolSettings())
    assert (pool_plan.presets_total, pool_plan.presets_reconciled, pool_plan.is_noop) == (
        1,
        0,
        True,
    )


def test_half_of_the_database_pool_is_for_actions() -> None:
    assert [concurrency_limit(size) for size in (0, 1, 2, 3, 10)] == [1, 1, 1, 1, 5]
