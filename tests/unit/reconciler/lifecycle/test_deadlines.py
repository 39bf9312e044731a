"""When a workspace stops: never past its maximum, and no later because somebody rebuilt it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lifecycle import (
    Deadlines,
    TemplatePolicy,
    begin_run,
    bump,
    check_policy,
    extend,
    restart_run,
)
from svckit.errors import InvalidArgument

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = 3600
seconds = st.one_of(st.just(0), st.integers(60, 30 * 86_400))
moments = st.none() | st.integers(0, 40 * 86_400).map(lambda s: NOW + timedelta(seconds=s))
policies = st.builds(TemplatePolicy, activity_bump_seconds=seconds, max_ttl_seconds=seconds)


@st.composite
def deadlines(draw: st.DrawFn) -> Deadlines:
    """What a running workspace may have."""
    deadline, maximum = draw(moments), draw(moments)
    if maximum is not None:
        deadline = min(deadline or maximum, maximum)
    return Deadlines(deadline_at=deadline, max_deadline_at=maximum)


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def test_a_start_begins_both_times() -> None:
    policy = TemplatePolicy(max_ttl_seconds=10 * HOUR)
    assert begin_run(policy, 8 * HOUR, Deadlines(), NOW) == Deadlines(
        deadline_at=at(8), max_deadline_at=at(10)
    )
    assert begin_run(TemplatePolicy(), 0, Deadlines(), NOW) == Deadlines()
    assert begin_run(policy, 0, Deadlines(), NOW) == Deadlines(
        deadline_at=at(10), max_deadline_at=at(10)
    )


def test_a_rebuild_does_not_move_the_maximum() -> None:
    policy = TemplatePolicy(max_ttl_seconds=10 * HOUR)
    running = Deadlines(deadline_at=at(2), max_deadline_at=at(3))
    assert begin_run(policy, 8 * HOUR, running, NOW) == Deadlines(
        deadline_at=at(3), max_deadline_at=at(3)
    )


def test_a_bump_moves_on_and_never_back() -> None:
    policy = TemplatePolicy(activity_bump_seconds=HOUR)
    near, far = Deadlines(deadline_at=at(0.5)), Deadlines(deadline_at=at(5))
    assert bump(policy, near, NOW) == Deadlines(deadline_at=at(1))
    assert bump(policy, far, NOW) == far
    assert bump(TemplatePolicy(), near, NOW) == near


def test_an_extension_is_as_long_as_asked_for() -> None:
    assert extend(HOUR, Deadlines(deadline_at=at(5)), NOW) == Deadlines(deadline_at=at(1))


def test_a_new_time_counts_from_its_change() -> None:
    before = Deadlines(deadline_at=at(1), max_deadline_at=at(6))
    assert restart_run(2 * HOUR, before, NOW).deadline_at == at(2)
    assert restart_run(0, before, NOW).deadline_at == at(6)
    assert restart_run(0, Deadlines(deadline_at=at(1)), NOW) == Deadlines()


@given(policy=policies, ttl=seconds, before=deadlines(), extension=st.integers(60, 86_400))
def test_nothing_gets_past_the_maximum(
    policy: TemplatePolicy, ttl: int, before: Deadlines, extension: int
) -> None:
    bumped = bump(policy, before, NOW)
    for after in (
        begin_run(policy, ttl, before, NOW),
        restart_run(ttl, before, NOW),
        bumped,
        extend(extension, before, NOW),
    ):
        if after.max_deadline_at is not None:
            assert after.deadline_at is not None
            assert after.deadline_at <= after.max_deadline_at
        if before.max_deadline_at is not None and after.max_deadline_at is not None:
            assert after.max_deadline_at <= before.max_deadline_at
    assert (bumped.deadline_at is None) == (before.deadline_at is None)
    if before.deadline_at is not None and bumped.deadline_at is not None:
        assert bumped.deadline_at >= before.deadline_at


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (TemplatePolicy(default_ttl_seconds=59), "policy.default_ttl_seconds"),
        (TemplatePolicy(max_ttl_seconds=-1), "policy.max_ttl_seconds"),
        (TemplatePolicy(failure_ttl_seconds=31 * 86_400), "policy.failure_ttl_seconds"),
        (TemplatePolicy(dormant_after_seconds=2**62), "policy.dormant_after_seconds"),
        (
            TemplatePolicy(default_ttl_seconds=7200, max_ttl_seconds=3600),
            "policy.default_ttl_seconds",
        ),
    ],
)
def test_a_policy_out_of_bounds_is_refused_by_its_field(policy: TemplatePolicy, field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_policy(policy)
    assert raised.value.field == field
