"""The pool as a machine: whatever happens between passes, no plan breaks a promise, and once things
work again the pool comes to rest at its desired size.

The world below is the dumbest database that can apply a plan. It refuses, by assertion, whatever a
real one would refuse: cancelling what a worker has, deleting what is being built, touching what is
not the pool's.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    Action,
    BackOffUntil,
    BuildHistory,
    CancelPendingCreations,
    CreatePrebuild,
    DeletePrebuild,
    DeleteReason,
    MarkHardLimited,
    MarkHealthy,
    MemberRow,
    PoolHealth,
    PoolPlan,
    PoolSettings,
    PoolSnapshot,
    PresetRow,
    Transition,
    count_pool,
    is_eligible,
    plan,
    preset_states,
)

_START = datetime(2027, 3, 1, 12, tzinfo=UTC)
_SETTINGS = PoolSettings(jobs_in_flight_max=5)
_IN_FLIGHT = {JobStatus.PENDING, JobStatus.RUNNING, JobStatus.CANCELING}
_VERSION, _OTHER_VERSION = UUID(int=1), UUID(int=2)
_PRESETS = (UUID(int=11), UUID(int=12))
_HOUR = timedelta(hours=1)


def a_preset(preset_id: UUID, instances: int, ttl_seconds: int = 0) -> PresetRow:
    return PresetRow(
        preset_id=preset_id,
        preset_name=f"preset-{preset_id.int}",
        template_id=UUID(int=21),
        template_name="template",
        template_version_id=_VERSION,
        template_version_name="v1",
        organization_id=UUID(int=31),
        organization_name="default",
        is_version_active=True,
        instances=instances,
        ttl_seconds=ttl_seconds,
    )


class World:
    """A database, workers, agents and a clock."""

    def __init__(self) -> None:
        self.now = _START
        self.paused = False
        self.hearing_since: datetime | None = _START
        self.presets: dict[UUID, PresetRow] = {}
        self.members: dict[UUID, MemberRow] = {}
        self.outcomes: list[tuple[UUID, datetime, datetime, bool]] = []
        self.resumed_probes: dict[UUID, int] = {}
        self._numbers = count(1000)

    def snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(
            taken_at=self.now,
            presets=tuple(self.presets.values()),
            members=tuple(self.members.values()),
            histories=tuple(map(self._history, self.presets)),
            paused=self.paused,
            hearing_since=self.hearing_since,
        )

    def run_once(self) -> PoolPlan:
        before = self.in_flight()
        pool_plan = plan(self.snapshot(), _SETTINGS)
        assert not (self.paused and pool_plan.actions)
        touched = [each for action in pool_plan.actions for each in _workspaces(action)]
        assert len(touched) == len(set(touched)), "a member is named twice"
        for action in pool_plan.actions:
            self.apply(action)
        assert self.in_flight() <= max(before, _SETTINGS.jobs_in_flight_max)
        return pool_plan

    def apply(self, action: Action) -> None:
        match action:
            case CancelPendingCreations():
                for workspace_id in action.workspace_ids:
                    member = self.members.pop(workspace_id)
                    assert (member.transition, member.job, member.build_number) == (
                        Transition.START,
                        JobStatus.PENDING,
                        1,
                    )
                    assert not member.is_picked_up
                    self._give_back_probe(member)
            case DeletePrebuild():
                member = self.members[action.workspace_id]
                assert member.job not in _IN_FLIGHT
                if action.reason is DeleteReason.LOST:
                    self._check_lost(member)
                if member.job is JobStatus.CANCELED and member.build_number == 1:
                    self._give_back_probe(member)
                self._build(member, Transition.DELETE)
            case CreatePrebuild():
                preset = self.presets[action.preset_id]
                assert action.count > 0
                assert preset.is_active
                assert not preset.paused
                if preset.health is PoolHealth.HARD_LIMITED:
                    assert action.count == 1
                    self.resumed_probes[preset.preset_id] -= 1
                    assert self.resumed_probes[preset.preset_id] == 0, "a second probe"
                for _ in range(action.count):
                    self._create(preset)
            case MarkHardLimited():
                preset = self.presets[action.preset_id]
                assert preset.health is PoolHealth.HEALTHY, "marked twice"
                self.presets[action.preset_id] = replace(preset, health=PoolHealth.HARD_LIMITED)
            case MarkHealthy():
                preset = self.presets[action.preset_id]
                assert preset.health is PoolHealth.HARD_LIMITED, "marked twice"
                self.presets[action.preset_id] = replace(preset, health=PoolHealth.HEALTHY)
            case BackOffUntil():
                assert action.until > self.now

    def finish(self, member: MemberRow, *, is_success: bool) -> None:
        done = replace(
            member,
            job=JobStatus.SUCCEEDED if is_success else JobStatus.FAILED,
            is_picked_up=True,
        )
        if member.job is JobStatus.CANCELING:
            done = replace(done, job=JobStatus.CANCELED)
        elif member.transition is Transition.START:
            done = replace(done, started_at=self.now if is_success else None, first_ready_at=None)
            if member.preset_id is not None and member.build_number == 1:
                self.outcomes.append((member.preset_id, member.created_at, self.now, is_success))
        if member.transition is Transition.DELETE:
            if done.job is JobStatus.SUCCEEDED:
                del self.members[member.workspace_id]
                return
            failures = member.delete_failure_count + 1
            done = replace(done, delete_failure_count=failures, delete_failed_at=self.now)
        self.members[member.workspace_id] = done

    def become_ready(self, member: MemberRow) -> None:
        self.members[member.workspace_id] = replace(
            member,
            is_ready=True,
            first_ready_at=member.first_ready_at or self.now,
            unready_since=None,
        )

    def resume(self, preset_id: UUID) -> None:
        self.now += timedelta(seconds=1)
        self.resumed_probes[preset_id] = 1
        self.presets[preset_id] = replace(self.presets[preset_id], resumed_at=self.now)

    def in_flight(self) -> int:
        return sum(1 for member in self.members.values() if member.job in _IN_FLIGHT)

    def settle(self) -> None:
        """Everything works from here on; the pool has to come to rest."""
        resumed: set[UUID] = set()
        for _ in range(200):
            for preset in list(self.presets.values()):
                if preset.health is PoolHealth.HARD_LIMITED and preset.preset_id not in resumed:
                    resumed.add(preset.preset_id)
                    self.resume(preset.preset_id)
            for member in list(self.members.values()):
                is_started = member.transition is Transition.START
                if is_started and member.job is JobStatus.SUCCEEDED and not member.is_ready:
                    self.become_ready(member)
            pool_plan = self.run_once()
            is_limited = any(
                preset.health is PoolHealth.HARD_LIMITED and preset.preset_id not in resumed
                for preset in self.presets.values()
            )
            is_deleting = any(
                member.transition is Transition.DELETE for member in self.members.values()
            )
            is_waiting = not self.in_flight() and all(
                isinstance(action, BackOffUntil) for action in pool_plan.actions
            )
            if pool_plan.is_noop and is_waiting and not (is_limited or is_deleting):
                return
            for member in list(self.members.values()):
                if member.job in _IN_FLIGHT:
                    self.finish(member, is_success=True)
            self.now += _HOUR if is_waiting else timedelta(seconds=1)
        raise AssertionError("the pool does not come to rest")

    def assert_at_rest(self) -> None:
        for state in preset_states(self.snapshot(), _SETTINGS):
            counts = count_pool(state)
            preset = state.preset
            desired = preset.instances if preset.is_active else 0
            assert (counts.desired, counts.running, counts.eligible) == (desired, desired, desired)
            assert (counts.starting, counts.deleting, counts.stopping, counts.expired) == (0,) * 4
            assert counts.failed <= (1 if preset.is_active else 0)
            assert desired == sum(is_eligible(m, preset, self.now) for m in state.members)
        assert {member.preset_id for member in self.members.values()} <= set(self.presets)

    def _check_lost(self, member: MemberRow) -> None:
        assert (member.is_ready, member.first_ready_at is None) == (False, False)
        assert self.hearing_since is not None
        assert member.unready_since is not None
        for moment in (self.hearing_since, member.unready_since):
            assert self.now - moment > timedelta(seconds=_SETTINGS.lost_timeout_seconds)

    def _give_back_probe(self, member: MemberRow) -> None:
        """A probe that was cancelled has decided nothing, so there may be another."""
        for preset in self.presets.values():
            is_resumed = preset.resumed_at is not None and member.created_at >= preset.resumed_at
            if member.preset_id == preset.preset_id and is_resumed:
                self.resumed_probes[preset.preset_id] = 1

    def _create(self, preset: PresetRow) -> None:
        workspace_id = UUID(int=next(self._numbers))
        self.members[workspace_id] = MemberRow(
            workspace_id=workspace_id,
            preset_id=preset.preset_id,
            template_version_id=preset.template_version_id,
            created_at=self.now,
            build_number=1,
            transition=Transition.START,
            job=JobStatus.PENDING,
            is_picked_up=False,
        )

    def _build(self, member: MemberRow, transition: Transition) -> None:
        self.members[member.workspace_id] = replace(
            member,
            transition=transition,
            job=JobStatus.PENDING,
            build_number=member.build_number + 1,
            is_picked_up=False,
            is_ready=False,
        )

    def _history(self, preset_id: UUID) -> BuildHistory:
        mine = [outcome[1:] for outcome in self.outcomes if outcome[0] == preset_id]
        failed = [(created, ended) for created, ended, is_success in mine if not is_success]
        succeeded = [created for created, _, is_success in mine if is_success]
        lookback = timedelta(seconds=_SETTINGS.failure_lookback_seconds)
        consecutive = next(
            (index for index, (_, _, is_success) in enumerate(reversed(mine)) if is_success),
            len(mine),
        )
        return BuildHistory(
            preset_id=preset_id,
            recent_failure_count=sum(1 for _, ended in failed if self.now - ended <= lookback),
            consecutive_failure_count=consecutive,
            last_failed_at=max((ended for _, ended in failed), default=None),
            last_failed_created_at=max((created for created, _ in failed), default=None),
            last_succeeded_created_at=max(succeeded, default=None),
        )


def _workspaces(action: Action) -> tuple[UUID, ...]:
    match action:
        case CancelPendingCreations():
            return action.workspace_ids
        case DeletePrebuild():
            return (action.workspace_id,)
        case CreatePrebuild() | MarkHardLimited() | MarkHealthy() | BackOffUntil():
            return ()


class PoolMachine(RuleBasedStateMachine):
    """Everything that can happen to a pool, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

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
            self.world.members[member.workspace_id] = replace(
                member, is_ready=False, unready_since=member.unready_since or self.world.now
            )

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
            del self.world.members[member.workspace_id]  # any later touch is a KeyError

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

    @rule()
    def everything_works_again(self) -> None:
        self.world.paused = False
        for preset_id in _PRESETS:
            self._change(preset_id, paused=False)
        self.world.settle()
        self.world.assert_at_rest()

    @invariant()
    def the_same_picture_gives_the_same_plan(self) -> None:
        snapshot = self.world.snapshot()
        assert plan(snapshot, _SETTINGS) == plan(snapshot, _SETTINGS)

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
    moments = st.integers(0, 4 * 3600).map(lambda seconds: _START - timedelta(seconds=seconds))
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
    world = World()
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
