"""The pool as a machine: whatever happens between passes, no plan breaks a promise, and once things
work again the pool comes to rest at its desired size.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import MemberRow, PoolHealth, Transition, is_eligible, plan
from testkit.pool_twin import IN_FLIGHT, SETTINGS, START, PoolTwin, a_preset

_VERSION, _OTHER_VERSION = UUID(int=1), UUID(int=2)
_PRESETS = (UUID(int=11), UUID(int=12))


class PoolMachine(RuleBasedStateMachine):
    """Everything that can happen to a pool, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = PoolTwin()

    @initialize(first=st.integers(0, 4), second=st.integers(0, 9), ttl=st.sampled_from([0, 7200]))
    def install(self, first: int, second: int, ttl: int) -> None:
        for preset_id, instances in zip(_PRESETS, (first, second), strict=True):
            self.world.presets[preset_id] = a_preset(preset_id, instances, ttl)

    @rule()
    def run_once(self) -> None:
        self.world.run_once()

    @rule(pick=st.integers(0, 99))
    def a_worker_picks_up(self, pick: int) -> None:
        member = self._pick(pick, lambda m: m.job is JobStatus.PENDING)
        if member is not None:
            picked = replace(member, job=JobStatus.RUNNING, is_picked_up=True)
            self.world.members[member.workspace_id] = picked

    @rule(pick=st.integers(0, 99), is_success=st.booleans())
    def a_job_ends(self, pick: int, *, is_success: bool) -> None:
        member = self._pick(pick, lambda m: m.job in (JobStatus.RUNNING, JobStatus.CANCELING))
        if member is not None:
            self.world.finish(member, is_success=is_success)

    @rule(pick=st.integers(0, 99))
    def somebody_cancels(self, pick: int) -> None:
        member = self._pick(pick, lambda m: m.job is JobStatus.RUNNING)
        if member is not None:
            cancelling = replace(member, job=JobStatus.CANCELING)
            self.world.members[member.workspace_id] = cancelling

    @rule(pick=st.integers(0, 99), is_ready=st.booleans())
    def agents_come_and_go(self, pick: int, *, is_ready: bool) -> None:
        member = self._pick(
            pick, lambda m: m.transition is Transition.START and m.job is JobStatus.SUCCEEDED
        )
        if member is not None and is_ready:
            self.world.become_ready(member)
        elif member is not None:
            self.world.go_away(member)

    @rule(share=st.integers(1, 3))
    def a_machine_dies(self, share: int) -> None:
        for member in list(self.world.members.values()):
            if member.is_ready and member.workspace_id.int % share == 0:
                self.world.go_away(member)

    @rule()
    def gateways_come_and_go(self) -> None:
        is_silent = self.world.hearing_since is None
        self.world.hearing_since = self.world.now if is_silent else None

    @rule(pick=st.integers(0, 99))
    def somebody_claims(self, pick: int) -> None:
        member = self._pick(
            pick,
            lambda m: (
                m.preset_id is not None
                and is_eligible(m, self.world.presets[m.preset_id], self.world.now)
            ),
        )
        if member is not None:
            self.world.claim(member)

    @rule(pick=st.integers(0, 99))
    def an_admin_stops(self, pick: int) -> None:
        member = self._pick(pick, lambda m: m.job is JobStatus.SUCCEEDED)
        if member is not None:
            stopping = replace(
                member, transition=Transition.STOP, job=JobStatus.RUNNING, is_ready=False
            )
            self.world.members[member.workspace_id] = stopping

    @rule(pick=st.integers(0, 99))
    def an_admin_invalidates(self, pick: int) -> None:
        member = self._pick(pick, lambda _: True)
        if member is not None:
            self.world.members[member.workspace_id] = replace(member, is_invalidated=True)

    @rule(preset_id=st.sampled_from(_PRESETS), instances=st.integers(0, 9))
    def the_size_changes(self, preset_id: UUID, instances: int) -> None:
        self._change(preset_id, instances=instances)

    @rule(preset_id=st.sampled_from(_PRESETS), is_active=st.booleans())
    def another_version_is_promoted(self, preset_id: UUID, *, is_active: bool) -> None:
        self._change(preset_id, is_version_active=is_active)

    @rule(preset_id=st.sampled_from(_PRESETS), paused=st.booleans())
    def a_pool_is_paused(self, preset_id: UUID, *, paused: bool) -> None:
        self._change(preset_id, paused=paused)

    @rule(paused=st.booleans())
    def everything_is_paused(self, *, paused: bool) -> None:
        self.world.paused = paused

    @rule(preset_id=st.sampled_from(_PRESETS))
    def an_admin_resumes(self, preset_id: UUID) -> None:
        if self.world.presets[preset_id].health is PoolHealth.HARD_LIMITED:
            self.world.resume(preset_id)

    @rule(seconds=st.sampled_from([1, 61, 601, 1801, 7201]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(seconds=st.sampled_from([-7201, -601, -1, 86_401]))
    def the_clock_is_set(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule()
    def everything_works_again(self) -> None:
        self.world.paused = False
        for preset_id in _PRESETS:
            self._change(preset_id, paused=False)
        self.world.settle()
        self.world.assert_at_rest()

    @invariant()
    def the_same_snapshot_gives_the_same_plan(self) -> None:
        snapshot = self.world.snapshot()
        assert plan(snapshot, SETTINGS) == plan(snapshot, SETTINGS)

    def _change(self, preset_id: UUID, **changes: object) -> None:
        preset = self.world.presets[preset_id]
        self.world.presets[preset_id] = replace(preset, **changes)  # pyright: ignore[reportArgumentType]  # checked by replace

    def _pick(self, pick: int, fits: Callable[[MemberRow], bool]) -> MemberRow | None:
        fitting = [member for member in self.world.members.values() if fits(member)]
        return fitting[pick % len(fitting)] if fitting else None


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


@st.composite
def any_members(draw: st.DrawFn) -> MemberRow:
    """Rows that no pool would make, and those that it would."""
    moments = st.integers(0, 4 * 3600).map(lambda seconds: START - timedelta(seconds=seconds))
    return MemberRow(
        workspace_id=UUID(int=draw(st.integers(1, 10**9))),
        preset_id=draw(st.sampled_from([*_PRESETS, UUID(int=99), None])),
        template_version_id=draw(st.sampled_from([_VERSION, _VERSION, _OTHER_VERSION])),
        created_at=draw(moments),
        build_number=draw(st.integers(1, 3)),
        transition=draw(st.sampled_from(Transition)),
        job=draw(st.sampled_from(JobStatus)),
        is_picked_up=draw(st.booleans()),
        is_ready=draw(st.booleans()),
        started_at=draw(st.none() | moments),
        first_ready_at=draw(st.none() | moments),
        unready_since=draw(st.none() | moments),
        is_invalidated=draw(st.booleans()),
        delete_failure_count=draw(st.integers(0, 50)),
        delete_failed_at=draw(st.none() | moments),
    )


@settings(deadline=None, max_examples=150)
@given(
    members=st.lists(any_members(), max_size=12, unique_by=lambda member: member.workspace_id),
    first=st.integers(0, 3),
    second=st.integers(0, 3),
    is_active=st.booleans(),
    health=st.sampled_from([PoolHealth.HEALTHY, PoolHealth.HARD_LIMITED]),
)
def test_the_pool_converges_from_any_state(
    members: list[MemberRow], first: int, second: int, *, is_active: bool, health: PoolHealth
) -> None:
    world = PoolTwin()
    world.presets = {
        _PRESETS[0]: replace(a_preset(_PRESETS[0], first, 7200), health=health),
        _PRESETS[1]: replace(a_preset(_PRESETS[1], second), is_version_active=is_active),
    }
    gone = (Transition.DELETE, JobStatus.SUCCEEDED)
    world.members = {
        member.workspace_id: member for member in members if (member.transition, member.job) != gone
    }
    world.settle()
    world.assert_at_rest()


@settings(deadline=None, max_examples=40)
@given(
    instances=st.integers(1, 9),
    lives_minutes=st.lists(st.integers(0, 59), min_size=1, max_size=4),
    is_served=st.booleans(),
)
def test_a_pool_stops_soon_if_everything_dies_and_nobody_is_served(
    instances: int, lives_minutes: list[int], *, is_served: bool
) -> None:
    """Every member is ready at once and dies within the hour. Sometimes somebody is faster."""
    world = PoolTwin()
    world.presets = {_PRESETS[0]: a_preset(_PRESETS[0], instances)}
    for number in range(30):
        world.run_once()
        for member in [m for m in world.members.values() if m.job in IN_FLIGHT]:
            world.finish(member, is_success=True)
        for member in [m for m in world.members.values() if m.first_ready_at is None]:
            world.become_ready(member)
        world.now += timedelta(minutes=lives_minutes[number % len(lives_minutes)])
        alive = [m for m in world.members.values() if m.is_ready]
        if is_served and alive:
            world.claim(alive.pop())
        for member in alive:
            world.go_away(member)
        world.now += timedelta(minutes=11)
    is_limited = world.presets[_PRESETS[0]].health is PoolHealth.HARD_LIMITED
    assert is_limited is not is_served
    if is_limited:
        assert len(world.losses) <= 4 * instances
