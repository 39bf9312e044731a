"""Pools that lose their members: one misfortune is made good at once, a pool that loses whatever it
makes waits longer and longer, and stops.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.pools import (
    Action,
    BackOffUntil,
    BuildHistory,
    CreatePrebuild,
    DeletePrebuild,
    DeleteReason,
    Loss,
    MarkHardLimited,
    MemberRow,
    PoolHealth,
    PoolSettings,
    PresetRow,
    count_waves,
    describe_hard_limit,
    plan,
)

Pool = Any  # the builders of conftest.py
_PRESET = UUID(int=11)
_NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def ago(minutes: float) -> datetime:
    return _NOW - timedelta(minutes=minutes)


def loss(created: float, lost: float) -> Loss:
    """Minutes ago."""
    return Loss(created_at=ago(created), lost_at=ago(lost))


def create(count: int) -> CreatePrebuild:
    return CreatePrebuild(preset_id=_PRESET, count=count)


def give_up(number: int) -> DeletePrebuild:
    return DeletePrebuild(
        preset_id=_PRESET, workspace_id=UUID(int=number), reason=DeleteReason.LOST
    )


def dead(pool: Pool, number: int) -> MemberRow:
    """As old as its number says in minutes; ready for all but the last 10 and a bit of them."""
    return pool.member(number, is_ready=False, unready_since=pool.ago(601))


def history(*losses: Loss, **changes: Any) -> BuildHistory:
    return replace(BuildHistory(preset_id=_PRESET, losses=losses), **changes)


def actions(
    pool: Pool,
    preset: PresetRow,
    *members: MemberRow,
    history: BuildHistory | None = None,
    limit: int = 3,
) -> tuple[Action, ...]:
    snapshot = replace(pool.snapshot(preset, *members, history=history), hearing_since=ago(9999))
    return plan(snapshot, PoolSettings(failure_hard_limit=limit)).actions


@pytest.mark.parametrize(
    ("losses", "waves"),
    [
        ((), 0),
        ((loss(90, 60),), 1),
        ((loss(90, 60), loss(80, 60), loss(70, 55)), 1),  # a machine, and what was found later
        ((loss(90, 60), loss(60, 30)), 2),  # what came in its place
        ((loss(90, 60), loss(61, 30)), 1),
        ((loss(90, 60), loss(58, 30), loss(57, 30), loss(28, 5)), 3),
        ((loss(60, 60), loss(61, 60)), 2),  # what was lost as soon as it was made comes last
        ((loss(99, 1), loss(90, 80), loss(70, 60)), 2),  # one that held out long hides nothing
    ],
)
def test_losses_count_along_the_line_of_replacements(losses: tuple[Loss, ...], waves: int) -> None:
    assert count_waves(losses) == waves
    assert count_waves(reversed(losses)) == waves


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 10)).map(
            lambda drawn: Loss(created_at=ago(-drawn[0]), lost_at=ago(-drawn[0] - drawn[1]))
        ),
        max_size=12,
    )
)
def test_no_line_of_replacements_is_longer(losses: list[Loss]) -> None:
    longest: list[int] = []
    ordered = sorted(losses, key=lambda each: each.created_at)
    for index, each in enumerate(ordered):
        before = [
            longest[earlier]
            for earlier in range(index)
            if ordered[earlier].lost_at <= each.created_at
        ]
        longest.append(1 + max(before, default=0))
    assert count_waves(losses) == max(longest, default=0)


def test_the_first_loss_is_made_good_at_once_and_later_ones_later_and_later(pool: Pool) -> None:
    member, preset = dead(pool, 25), pool.preset()
    until = [pool.now + timedelta(seconds=wait) for wait in (60, 120)]
    once, twice = history(loss(50, 26)), history(loss(55, 52), loss(50, 26))
    assert [
        actions(pool, preset, member),
        actions(pool, preset, member, history=once),
        actions(pool, preset, member, history=twice, limit=0),
    ] == [
        (give_up(25), create(1)),
        (BackOffUntil(preset_id=_PRESET, until=until[0], failure_count=1), give_up(25)),
        (BackOffUntil(preset_id=_PRESET, until=until[1], failure_count=2), give_up(25)),
    ]


def test_failures_and_losses_wait_together(pool: Pool) -> None:
    both = history(loss(55, 52), loss(50, 1), recent_failure_count=2, last_failed_at=pool.ago(200))
    until = ago(1) + timedelta(seconds=60 * 3)
    assert actions(pool, pool.preset(), history=both) == (
        BackOffUntil(preset_id=_PRESET, until=until, failure_count=3),
    )


def test_a_pool_that_loses_whatever_it_makes_stops_when_it_has_happened(pool: Pool) -> None:
    twice = history(loss(75, 60), loss(58, 40))
    stopped = MarkHardLimited(preset_id=_PRESET, failure_count=3, is_by_losses=True)
    # somebody may claim the member before it is given up, so it counts for the creation alone
    assert actions(pool, pool.preset(), dead(pool, 25), history=twice) == (give_up(25),)
    thrice = history(loss(75, 60), loss(58, 40), loss(38, 20))
    assert actions(pool, pool.preset(), history=thrice) == (stopped,)
    assert describe_hard_limit(3, is_by_losses=True).startswith(
        "prebuilds became ready and were lost soon after, 3 times in a row; the pool stopped"
    )


def test_one_misfortune_stops_no_pool_however_many_it_hits(pool: Pool) -> None:
    crowd = [dead(pool, number) for number in range(30, 20, -1)]
    assert actions(pool, pool.preset(instances=10), *crowd, limit=2) == (
        *(give_up(number) for number in range(30, 25, -1)),
        create(5),
    )
    rest = crowd[5:]
    gone = history(*(loss(number, 5) for number in range(30, 25, -1)))
    fresh = [pool.member(number) for number in (1, 2, 3, 4, 0)]
    assert actions(pool, pool.preset(instances=10), *rest, *fresh, history=gone, limit=2) == (
        *(give_up(number) for number in range(25, 20, -1)),
        create(5),
    )


def test_a_member_that_proves_the_pool_wipes_the_losses_out(pool: Pool) -> None:
    thrice = history(loss(175, 160), loss(158, 140), loss(138, 120))
    proven = replace(thrice, last_proven_at=ago(119))
    early = replace(thrice, last_proven_at=ago(121))
    limited = MarkHardLimited(preset_id=_PRESET, failure_count=1, is_by_losses=True)
    assert actions(pool, pool.preset(), history=proven) == (create(1),)
    assert actions(pool, pool.preset(), history=early) == (create(1),)
    assert actions(pool, pool.preset(), history=early, limit=1) == (limited,)


def test_whoever_was_ready_for_an_hour_is_no_loss(pool: Pool) -> None:
    twice = history(loss(175, 160), loss(158, 140))
    old, young = dead(pool, 71), dead(pool, 69)
    assert actions(pool, pool.preset(), old, history=twice) == (give_up(71), create(1))
    assert actions(pool, pool.preset(), young, history=twice)[-1] == give_up(69)


def test_who_resumes_a_pool_has_seen_its_losses(pool: Pool) -> None:
    thrice = history(loss(75, 60), loss(58, 40), loss(38, 20), last_succeeded_created_at=ago(100))
    resumed = pool.preset(health=PoolHealth.HARD_LIMITED, resumed_at=ago(10))
    healed = replace(resumed, health=PoolHealth.HEALTHY)
    assert actions(pool, resumed, history=thrice) == (create(1),)
    assert actions(pool, healed, history=thrice) == (create(1),)
    again = replace(thrice, losses=(*thrice.losses, loss(9, 1)))
    assert actions(pool, healed, history=again) == (create(1),)


def test_what_no_replacement_may_be_made_for_stays(pool: Pool) -> None:
    """Whatever took more than half away at once may give it back."""
    rest = [dead(pool, number) for number in (23, 22, 21)]
    once = history(loss(45, 41), loss(26, 0.5), loss(25, 0.5), loss(24, 0.5))
    waiting = actions(pool, pool.preset(instances=6), *rest, history=once)
    assert [type(action) for action in waiting] == [BackOffUntil]
    limited = pool.preset(instances=6, health=PoolHealth.HARD_LIMITED)
    assert actions(pool, limited, *rest, history=once) == ()
