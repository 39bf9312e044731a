"""The dumbest database that can apply a pool's plan, with workers, agents and a clock.

It refuses, by assertion, whatever a real one would refuse: cancelling what a worker has, deleting
what is being built, touching what is not the pool's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

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

__all__ = ["IN_FLIGHT", "SETTINGS", "START", "PoolTwin", "a_preset"]

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
SETTINGS = PoolSettings(jobs_in_flight_max=5)
IN_FLIGHT = {JobStatus.PENDING, JobStatus.RUNNING, JobStatus.CANCELING}
_HOUR = timedelta(hours=1)


def a_preset(preset_id: UUID, instances: int, ttl_seconds: int = 0) -> PresetRow:
    """An active preset."""
    return PresetRow(
        preset_id=preset_id,
        preset_name=f"preset-{preset_id.int}",
        template_id=UUID(int=21),
        template_name="template",
        template_version_id=UUID(int=1),
        template_version_name="v1",
        organization_id=UUID(int=31),
        organization_name="default",
        is_version_active=True,
        instances=instances,
        ttl_seconds=ttl_seconds,
    )


class PoolTwin:
    """The database, workers, agents and a clock."""

    def __init__(self) -> None:
        self.now = START
        self.paused = False
        self.hearing_since: datetime | None = START
        self.presets: dict[UUID, PresetRow] = {}
        self.members: dict[UUID, MemberRow] = {}
        self.outcomes: list[tuple[UUID, datetime, datetime, bool]] = []
        self.losses: list[tuple[UUID, Loss]] = []
        self.proofs: dict[UUID, datetime] = {}
        self.resumed_probes: dict[UUID, int] = {}
        self._numbers = count(1000)

    def snapshot(self) -> PoolSnapshot:
        """What a pass would read."""
        return PoolSnapshot(
            taken_at=self.now,
            presets=tuple(self.presets.values()),
            members=tuple(self.members.values()),
            histories=tuple(map(self._history, self.presets)),
            paused=self.paused,
            hearing_since=self.hearing_since,
        )

    def run_once(self) -> PoolPlan:
        """One pass: plans, checks the plan, applies it."""
        before = self.in_flight()
        pool_plan = plan(self.snapshot(), SETTINGS)
        assert not (self.paused and pool_plan.actions)
        touched = [each for action in pool_plan.actions for each in _workspaces(action)]
        assert len(touched) == len(set(touched)), "a member is named twice"
        self._check_halves(pool_plan)
        for action in pool_plan.actions:
            self.apply(action)
        assert self.in_flight() <= max(before, SETTINGS.jobs_in_flight_max)
        return pool_plan

    def apply(self, action: Action) -> None:
        """Carries an action out, if a real database would."""
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
                assert member.job not in IN_FLIGHT
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
        """The job of a member's latest build ends."""
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

    def go_away(self, member: MemberRow) -> None:
        """A member's agent is gone."""
        self._note_proof(member)
        self.members[member.workspace_id] = replace(
            member, is_ready=False, unready_since=member.unready_since or self.now
        )

    def claim(self, member: MemberRow) -> None:
        """Somebody gets a member, and their agent applies the claim."""
        assert member.preset_id is not None
        self.proofs[member.preset_id] = self.now
        del self.members[member.workspace_id]  # any later touch is a KeyError

    def become_ready(self, member: MemberRow) -> None:
        """A member's agent is ready, for the first time or again."""
        self.members[member.workspace_id] = replace(
            member,
            is_ready=True,
            first_ready_at=member.first_ready_at or self.now,
            unready_since=None,
        )

    def resume(self, preset_id: UUID) -> None:
        """An admin lifts a hard limit."""
        self.now += timedelta(seconds=1)
        self.resumed_probes[preset_id] = 1
        self.presets[preset_id] = replace(self.presets[preset_id], resumed_at=self.now)

    def in_flight(self) -> int:
        """How many jobs have not ended."""
        return sum(1 for member in self.members.values() if member.job in IN_FLIGHT)

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
                if member.job in IN_FLIGHT:
                    self.finish(member, is_success=True)
            self.now += _HOUR if is_waiting else timedelta(seconds=1)
        raise AssertionError("the pool does not come to rest")

    def assert_at_rest(self) -> None:
        """Every pool has what it wants, and nothing else."""
        for state in preset_states(self.snapshot(), SETTINGS):
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
            assert self.now - moment > timedelta(seconds=SETTINGS.lost_timeout_seconds)

        assert member.preset_id is not None
        if not self._note_proof(member):
            loss = Loss(created_at=member.created_at, lost_at=self.now)
            self.losses.append((member.preset_id, loss))

    def _check_halves(self, pool_plan: PoolPlan) -> None:
        """Nobody gives up more than half of a pool, or more than one, by one snapshot."""
        for preset in self.presets.values():
            given_up = [
                action
                for action in pool_plan.actions
                if isinstance(action, DeletePrebuild)
                and action.reason is DeleteReason.LOST
                and action.preset_id == preset.preset_id
            ]
            mine = [m for m in self.members.values() if m.preset_id == preset.preset_id]
            assert len(given_up) <= max(1, max(len(mine), preset.instances) // 2)

    def _note_proof(self, member: MemberRow) -> bool:
        """Whether a member was ready for as long as a failure counts."""
        if member.first_ready_at is None or member.preset_id is None:
            return False
        proven_at = member.first_ready_at + _HOUR
        if proven_at > (member.unready_since or self.now):
            return False
        latest = self.proofs.get(member.preset_id)
        self.proofs[member.preset_id] = max(proven_at, latest or proven_at)
        return True

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
        for member in self.members.values():
            if member.is_ready and member.preset_id == preset_id:
                self._note_proof(member)
        mine = [outcome[1:] for outcome in self.outcomes if outcome[0] == preset_id]
        failed = [(created, ended) for created, ended, is_success in mine if not is_success]
        succeeded = [created for created, _, is_success in mine if is_success]
        lookback = timedelta(seconds=SETTINGS.failure_lookback_seconds)
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
            losses=tuple(loss for whose, loss in self.losses if whose == preset_id),
            last_proven_at=self.proofs.get(preset_id),
        )


def _workspaces(action: Action) -> tuple[UUID, ...]:
    match action:
        case CancelPendingCreations():
            return action.workspace_ids
        case DeletePrebuild():
            return (action.workspace_id,)
        case CreatePrebuild() | MarkHardLimited() | MarkHealthy() | BackOffUntil():
            return ()
