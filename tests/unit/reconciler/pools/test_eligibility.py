"""Who may be claimed, and what a claimant who got nobody is told."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    PoolHealth,
    PoolMiss,
    ScheduleRow,
    Transition,
    explain_pool_miss,
    is_eligible,
)

Pool = Any  # the builders of conftest.py


@pytest.mark.parametrize(
    ("preset_changes", "member_changes", "expected"),
    [
        ({}, {}, True),
        ({"paused": True}, {}, True),
        ({"health": PoolHealth.HARD_LIMITED}, {}, True),
        ({"is_version_active": False}, {}, False),
        ({"is_template_retired": True}, {}, False),
        ({}, {"template_version_id": UUID(int=2)}, False),
        ({}, {"is_invalidated": True}, False),
        ({}, {"is_ready": False}, False),
        ({}, {"job": JobStatus.RUNNING}, False),
        ({}, {"job": JobStatus.FAILED}, False),
        ({}, {"transition": Transition.STOP}, False),
        ({}, {"transition": Transition.DELETE, "job": JobStatus.FAILED}, False),
    ],
)
def test_a_member_is_eligible_only_if_everything_is_right(
    pool: Pool, preset_changes: dict[str, Any], member_changes: dict[str, Any], *, expected: bool
) -> None:
    preset, member = pool.preset(**preset_changes), pool.member(1, **member_changes)
    assert is_eligible(member, preset, pool.now) is expected


def test_a_member_expires_just_after_its_ttl_and_is_invalidated_only_if_older(pool: Pool) -> None:
    member = pool.member(60)
    seen = [
        is_eligible(member, preset, pool.now)
        for preset in (
            pool.preset(ttl_seconds=3600),
            pool.preset(ttl_seconds=3599),
            pool.preset(last_invalidated_at=member.created_at),
            pool.preset(last_invalidated_at=pool.ago(3599)),
        )
    ]
    assert seen == [True, False, True, False]


def test_a_miss_names_what_is_nearest(pool: Pool) -> None:
    preset = pool.preset()
    limited, paused = pool.preset(health=PoolHealth.HARD_LIMITED), pool.preset(paused=True)
    expiring = pool.preset(ttl_seconds=3600)
    unready, building, old = pool.unready(1), pool.building(2), pool.member(100)
    assert [
        explain_pool_miss(None, (), pool.now),
        explain_pool_miss(pool.preset(instances=0), (), pool.now),
        explain_pool_miss(preset, (), pool.now),
        explain_pool_miss(preset, (pool.member(1),), pool.now),  # lost the race for it
        explain_pool_miss(preset, (unready, building), pool.now),
        explain_pool_miss(preset, (building, pool.failed(3)), pool.now),
        explain_pool_miss(preset, (pool.pending(1),), pool.now),
        explain_pool_miss(limited, (pool.failed(1),), pool.now),
        explain_pool_miss(limited, (building,), pool.now),
        explain_pool_miss(paused, (), pool.now),
        explain_pool_miss(preset, (), pool.now, is_paused=True),
        explain_pool_miss(expiring, (old,), pool.now),
        explain_pool_miss(pool.preset(is_version_active=False), (pool.member(1),), pool.now),
        explain_pool_miss(preset, (pool.member(1),), pool.now, is_parameter_fixed=True),
    ] == [
        PoolMiss.NO_POOL,
        PoolMiss.NO_POOL,
        PoolMiss.EMPTY,
        PoolMiss.EMPTY,
        PoolMiss.UNHEALTHY,
        PoolMiss.STARTING,
        PoolMiss.STARTING,
        PoolMiss.HARD_LIMITED,
        PoolMiss.STARTING,
        PoolMiss.PAUSED,
        PoolMiss.PAUSED,
        PoolMiss.OUTDATED,
        PoolMiss.OUTDATED,
        PoolMiss.PARAMETERS,
    ]


def test_a_pool_that_sleeps_by_schedule_is_empty_rather_than_none(pool: Pool) -> None:
    preset = pool.preset(instances=0, schedules=(ScheduleRow(cron="* 8 * * *", instances=3),))
    assert explain_pool_miss(preset, (), pool.now) is PoolMiss.EMPTY
