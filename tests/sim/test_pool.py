"""Passes of two replicas, cut into single actions, with people, workers and time in between.

The twin below is a database in memory that refuses what the real one refuses: it re-reads what an
action is about to change. A replica may lose its lock at any moment without noticing, so several
may be in the middle of a pass, each with a snapshot of its own. Agents die and come back, and
gateways fall silent. Whatever the order: nobody's workspace is touched, no pool gets more than it
asked for, nobody is given up of whom nobody could have heard nor more than half of a pool by one
snapshot, and once it is quiet every pool has what it wants. SEEDS=n runs n stories for each number
of replicas.
"""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest

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
    PoolSettings,
    PoolSnapshot,
    PresetRow,
    Transition,
    is_eligible,
    plan,
    preset_states,
)
from testkit.counted_members import count_alike

pytestmark = pytest.mark.sim

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
SETTINGS = PoolSettings(jobs_in_flight_max=6)
BUSY = {"pass": 12, "job": 4, "agents": 2, "claim": 4, "time": 2, "promotion": 0.6, "admin": 2}
DEAF = {"silence": 0.4, "hearing": 1}
DEADLY = {"pass": 12, "job": 9, "agents": 4, "claim": 0.2, "admin": 0.2, "death": 3, **DEAF}
SEEDS = int(os.environ.get("SEEDS", "100"))
STEPS = 120


@dataclass
class Twin:
    """Rows, and the rules by which they change."""

    now: datetime = START
    versions: int = 1
    desired: int = 2
    presets: dict[UUID, PresetRow] = field(default_factory=dict[UUID, PresetRow])
    members: dict[UUID, MemberRow] = field(default_factory=dict[UUID, MemberRow])
    claimed: dict[UUID, MemberRow] = field(default_factory=dict[UUID, MemberRow])
    outcomes: list[tuple[UUID, datetime, datetime, bool]] = field(
        default_factory=list[tuple[UUID, datetime, datetime, bool]]
    )
    losses: list[tuple[UUID, Loss]] = field(default_factory=list[tuple[UUID, Loss]])
    proofs: list[tuple[UUID, datetime]] = field(default_factory=list[tuple[UUID, datetime]])
    hearing_since: datetime | None = START
    revived: int = 0
    numbers: count[int] = field(default_factory=lambda: count(1000))

    def promote(self) -> None:
        version = UUID(int=self.versions)
        self.versions += 1
        for preset_id, preset in self.presets.items():
            self.presets[preset_id] = replace(preset, is_version_active=False)
        preset_id = UUID(int=100 + self.versions)
        self.presets[preset_id] = PresetRow(
            preset_id=preset_id,
            preset_name="small",
            template_id=UUID(int=21),
            template_name="template",
            template_version_id=version,
            template_version_name=f"v{self.versions}",
            organization_id=UUID(int=31),
            organization_name="default",
            is_version_active=True,
            instances=self.desired,
            ttl_seconds=7200,
        )

    @property
    def active(self) -> PresetRow:
        return next(preset for preset in self.presets.values() if preset.is_active)

    def snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(
            taken_at=self.now,
            presets=tuple(self.presets.values()),
            members=tuple(self.members.values()),
            histories=(self._history(self.active.preset_id),),
            hearing_since=self.hearing_since,
        )

    def supply(self) -> int:
        """Who is there or on the way; the dead are neither, given up or not."""
        states = preset_states(self.snapshot(), SETTINGS)
        census = next(state.census for state in states if state.preset.is_active)
        return census.supply_count - sum(map(is_dead, census.unready))

    def apply(self, action: Action, made: dict[UUID, int]) -> None:
        """Carries one action out, as the real database does: on what it finds now."""
        match action:
            case CreatePrebuild():
                for _ in range(action.count):
                    self._create(action, made)
            case DeletePrebuild(workspace_id=workspace_id):
                member = self.members.get(workspace_id)
                if member is not None and member.job.is_final:
                    if action.reason is DeleteReason.LOST:
                        self._note_loss(member)
                    self._begin(member, Transition.DELETE)
            case CancelPendingCreations(workspace_ids=workspace_ids):
                for workspace_id in workspace_ids:
                    member = self.members.get(workspace_id)
                    if (
                        member is not None
                        and (member.transition, member.build_number) == (Transition.START, 1)
                        and member.job is JobStatus.PENDING
                    ):
                        del self.members[workspace_id]
            case MarkHardLimited(preset_id=preset_id):
                self.presets[preset_id] = replace(
                    self.presets[preset_id], health=PoolHealth.HARD_LIMITED, resumed_at=None
                )
            case MarkHealthy(preset_id=preset_id):
                self.presets[preset_id] = replace(
                    self.presets[preset_id], health=PoolHealth.HEALTHY
                )
            case BackOffUntil():
                pass

    def _create(self, action: CreatePrebuild, made: dict[UUID, int]) -> None:
        preset = self.presets[action.preset_id]
        is_stopped = preset.health is PoolHealth.HARD_LIMITED and preset.resumed_at is None
        newcomers = preset.members_made - made[action.preset_id]
        if not preset.is_active or is_stopped or newcomers >= action.count:
            return
        self.presets[action.preset_id] = replace(preset, members_made=preset.members_made + 1)
        workspace_id = UUID(int=next(self.numbers))
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

    def _begin(self, member: MemberRow, transition: Transition) -> None:
        self.members[member.workspace_id] = replace(
            member,
            transition=transition,
            job=JobStatus.PENDING,
            build_number=member.build_number + 1,
            is_picked_up=False,
            is_ready=False,
        )

    def pick_up(self, member: MemberRow) -> None:
        running = replace(member, job=JobStatus.RUNNING, is_picked_up=True)
        self.members[member.workspace_id] = running

    def finish(self, member: MemberRow, *, is_success: bool) -> None:
        status = JobStatus.SUCCEEDED if is_success else JobStatus.FAILED
        done = replace(member, job=status, is_picked_up=True)
        if member.transition is Transition.DELETE:
            if is_success:
                del self.members[member.workspace_id]
                return
            done = replace(
                done,
                delete_failure_count=member.delete_failure_count + 1,
                delete_failed_at=self.now,
            )
        elif member.preset_id is not None:
            done = replace(done, started_at=self.now if is_success else None)
            self.outcomes.append((member.preset_id, member.created_at, self.now, is_success))
        self.members[member.workspace_id] = done

    def make_ready(self, member: MemberRow) -> None:
        age = self.now - (member.started_at or self.now)
        if is_dead(member) or (member.first_ready_at is None and age > timedelta(seconds=1800)):
            self.revived += 1  # given up for lost by some snapshot, and back
        ready_at = member.first_ready_at or self.now
        self.members[member.workspace_id] = replace(
            member, is_ready=True, first_ready_at=ready_at, unready_since=None
        )

    def let_die(self, member: MemberRow) -> None:
        self._note_proof(member)
        self.members[member.workspace_id] = replace(member, is_ready=False, unready_since=self.now)

    def _note_loss(self, member: MemberRow) -> None:
        assert member.preset_id is not None
        if not self._note_proof(member):
            loss = Loss(created_at=member.created_at, lost_at=self.now)
            self.losses.append((member.preset_id, loss))

    def _note_proof(self, member: MemberRow) -> bool:
        """Whether a member that was ready once was so for an hour."""
        assert member.first_ready_at is not None
        assert member.preset_id is not None
        proven_at = member.first_ready_at + timedelta(seconds=SETTINGS.failure_lookback_seconds)
        if proven_at > (member.unready_since or self.now):
            return False
        self.proofs.append((member.preset_id, proven_at))
        return True

    def claim(self, pick: random.Random) -> None:
        preset = self.active
        ready = [m for m in self.members.values() if m.preset_id == preset.preset_id]
        ready = [m for m in ready if is_eligible(m, preset, self.now)]
        if ready:
            member = pick.choice(ready)
            self.claimed[member.workspace_id] = self.members.pop(member.workspace_id)
            self.proofs.append((preset.preset_id, self.now))

    def _history(self, preset_id: UUID) -> BuildHistory:
        for member in self.members.values():
            if member.is_ready and member.preset_id == preset_id:
                self._note_proof(member)
        mine = [outcome[1:] for outcome in self.outcomes if outcome[0] == preset_id]
        failed = [(created, ended) for created, ended, is_success in mine if not is_success]
        succeeded = [created for created, _, is_success in mine if is_success]
        lookback = timedelta(seconds=SETTINGS.failure_lookback_seconds)
        row = [index for index, (_, _, is_success) in enumerate(reversed(mine)) if is_success]
        return BuildHistory(
            preset_id=preset_id,
            recent_failure_count=sum(self.now - ended <= lookback for _, ended in failed),
            consecutive_failure_count=row[0] if row else len(mine),
            last_failed_at=max((ended for _, ended in failed), default=None),
            last_failed_created_at=max((created for created, _ in failed), default=None),
            last_succeeded_created_at=max(succeeded, default=None),
            losses=tuple(
                loss
                for whose, loss in self.losses
                if whose == preset_id and self.now - loss.lost_at < 24 * lookback
            ),
            last_proven_at=max(
                (at for whose, at in self.proofs if whose == preset_id), default=None
            ),
        )


def is_dead(member: MemberRow) -> bool:
    """Whether a started member was ready once and is not."""
    is_started = (member.transition, member.job) == (Transition.START, JobStatus.SUCCEEDED)
    return is_started and member.first_ready_at is not None and not member.is_ready


@dataclass
class Replica:
    """A replica in the middle of a pass, or before the next."""

    twin: Twin
    made: dict[UUID, int] = field(default_factory=dict[UUID, int])
    queue: deque[Action] = field(default_factory=deque[Action])
    asked: int = 0

    def step(self) -> None:
        if self.queue:
            self.twin.apply(self.queue.popleft(), self.made)
            return
        snapshot = self.twin.snapshot()
        self.made = {preset.preset_id: preset.members_made for preset in snapshot.presets}
        self.asked = self.twin.active.instances
        actions = plan(count_alike(snapshot, SETTINGS.jobs_in_flight_max), SETTINGS).actions
        self.check_losses(snapshot, actions)
        self.queue.extend(actions)

    def check_losses(self, snapshot: PoolSnapshot, actions: tuple[Action, ...]) -> None:
        members = {member.workspace_id: member for member in snapshot.members}
        given_up = [
            members[action.workspace_id]
            for action in actions
            if isinstance(action, DeletePrebuild) and action.reason is DeleteReason.LOST
        ]
        for member in given_up:
            heard = [member.unready_since, snapshot.hearing_since]
            assert is_dead(member)
            assert all(at and self.twin.now - at > timedelta(minutes=10) for at in heard)
        supply = [
            member
            for member in snapshot.members
            if member.preset_id == self.twin.active.preset_id
            and member.transition is Transition.START
            and member.job in (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.SUCCEEDED)
        ]
        size = max(self.asked, len(supply))
        assert len(given_up) <= max(1, size // 2)


class Case:
    """One seed's story."""

    def __init__(self, seed: int, *, replicas: int) -> None:
        self.dice = random.Random(seed)
        self.mood = self.dice.choice((BUSY, DEADLY))
        self.twin = Twin(desired=self.dice.randint(0, 4))
        self.twin.promote()
        self.replicas = [Replica(self.twin) for _ in range(replicas)]
        self.largest = self.twin.desired

    def run(self) -> None:
        self.fill()
        for _ in range(STEPS):
            claimed = dict(self.twin.claimed)
            supply = self.twin.supply()
            self.act()
            asked = max([self.largest, *(replica.asked for replica in self.replicas)])
            assert self.twin.supply() <= max(asked + self.twin.revived, supply)
            assert claimed.items() <= self.twin.claimed.items()
            assert not self.twin.claimed.keys() & self.twin.members.keys()
        self.settle()

    def fill(self) -> None:
        """Most stories begin with a full pool."""
        replica = self.replicas[0]
        replica.step()
        while replica.queue:
            replica.step()
        for member in list(self.twin.members.values()):
            self.twin.finish(member, is_success=True)
        self.agents_come()

    def act(self) -> None:
        twin, dice = self.twin, self.dice
        jobs = [m for m in twin.members.values() if not m.job.is_final]
        match dice.choices(tuple(self.mood), tuple(self.mood.values()))[0]:
            case "pass":
                dice.choice(self.replicas).step()
            case "job":
                for member in dice.sample(jobs, min(1, len(jobs))):
                    if member.job is JobStatus.PENDING:
                        twin.pick_up(member)
                    else:
                        twin.finish(member, is_success=dice.random() < 0.7)
            case "agents":
                self.agents_come(0.1)
            case "claim":
                twin.claim(dice)
            case "time":
                twin.now += timedelta(seconds=dice.choice([1, 1, 61, 601, 1801, 7201]))
            case "promotion":
                twin.promote()
            case "death":
                ready = [member for member in twin.members.values() if member.is_ready]
                for member in dice.sample(ready, dice.randint(0, len(ready))):
                    twin.let_die(member)
                twin.now += timedelta(seconds=dice.choice([31, 601]))
            case "silence":
                twin.hearing_since = None
            case "hearing":
                twin.now += timedelta(seconds=dice.choice([61, 601]))
                twin.hearing_since = twin.now
            case "admin":
                self.let_an_admin_act()
            case other:
                raise AssertionError(other)

    def let_an_admin_act(self) -> None:
        twin, preset = self.twin, self.twin.active
        if preset.health is PoolHealth.HARD_LIMITED:
            twin.presets[preset.preset_id] = replace(preset, resumed_at=twin.now)
        elif self.dice.random() < 0.3:
            twin.desired = self.dice.randint(0, 4)
            self.largest = max(self.largest, twin.desired)
            twin.presets[preset.preset_id] = replace(preset, instances=twin.desired)

    def agents_come(self, share_of_dead: float = 1.0) -> None:
        for member in list(self.twin.members.values()):
            is_started = (member.transition, member.job) == (
                Transition.START,
                JobStatus.SUCCEEDED,
            )
            is_back = not is_dead(member) or self.dice.random() < share_of_dead
            if is_started and is_back and not member.is_ready:
                self.twin.make_ready(member)

    def settle(self) -> None:
        """Everything works from here on."""
        twin = self.twin
        for replica in self.replicas:
            while replica.queue:
                replica.step()
        twin.now += timedelta(seconds=1)
        for attempt in range(60):
            preset = twin.active
            is_stopped = preset.health is PoolHealth.HARD_LIMITED
            if is_stopped and (attempt == 0 or preset.resumed_at is None):
                twin.presets[preset.preset_id] = replace(preset, resumed_at=twin.now)
            self.agents_come()
            replica = self.replicas[0]
            replica.step()
            while replica.queue:
                replica.step()
            for member in list(twin.members.values()):
                if not member.job.is_final:
                    twin.finish(member, is_success=True)
            self.agents_come()
            if self.is_at_rest():
                return
            twin.now += timedelta(seconds=61)
        raise AssertionError(f"the pool does not come to rest: {twin.members}")

    def is_at_rest(self) -> bool:
        twin = self.twin
        if not all(isinstance(a, BackOffUntil) for a in plan(twin.snapshot(), SETTINGS).actions):
            return False
        eligible = [m for m in twin.members.values() if is_eligible(m, twin.active, twin.now)]
        others = [m for m in twin.members.values() if m not in eligible]
        return len(eligible) == twin.active.instances and len(others) <= 1


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_interleavings(replicas: int) -> None:
    for seed in range(SEEDS):
        try:
            Case(seed, replicas=replicas).run()
        except AssertionError as error:
            error.add_note(f"seed {seed}, {replicas} replicas")
            raise
