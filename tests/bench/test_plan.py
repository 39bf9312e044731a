"""What a plan costs beside a plain loop over the same rows.

Two installations. *Quiet*: one preset in a hundred is active, has a schedule and five members, one
of them expired; the others belong to old versions and are empty. *Busy*: every preset is active and
has a schedule and five members, one of them expired. The floor groups the same members by preset
and counts the ready ones, which is the least that looks at every row once. Prints a table and
writes bench-results/plan.json; asserts no time.
"""

from __future__ import annotations

import gc
import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from uuid import UUID

import pytest

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    MemberRow,
    PoolSettings,
    PoolSnapshot,
    PresetRow,
    ScheduleRow,
    Transition,
    plan,
)

pytestmark = pytest.mark.bench

ROUNDS = 9
RESULTS = Path(__file__).parents[2] / "bench-results"
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SETTINGS = PoolSettings(jobs_in_flight_max=50)
MEMBERS_PER_PRESET = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; times are medians in milliseconds."""

    installation: str
    presets: int
    members: int
    reconciled: int
    actions: int
    plan_ms: float
    floor_ms: float

    @property
    def ratio(self) -> float:
        return self.plan_ms / self.floor_ms


def a_preset(number: int, *, is_active: bool) -> PresetRow:
    return PresetRow(
        preset_id=UUID(int=number),
        preset_name=f"preset-{number}",
        template_id=UUID(int=1),
        template_name="template",
        template_version_id=UUID(int=2),
        template_version_name="v1",
        organization_id=UUID(int=3),
        organization_name="default",
        is_version_active=is_active,
        instances=MEMBERS_PER_PRESET,
        ttl_seconds=86_400,
        schedules=(ScheduleRow(cron=f"* {number % 24} * * *", instances=MEMBERS_PER_PRESET),),
        timezone="Europe/Berlin",
    )


def a_member(preset: int, number: int) -> MemberRow:
    age = timedelta(hours=25 if number == 0 else number)
    return MemberRow(
        workspace_id=UUID(int=preset * MEMBERS_PER_PRESET + number),
        preset_id=UUID(int=preset),
        template_version_id=UUID(int=2),
        created_at=NOW - age,
        build_number=1,
        transition=Transition.START,
        job=JobStatus.SUCCEEDED,
        is_ready=True,
        started_at=NOW - age,
        first_ready_at=NOW - age,
    )


def a_snapshot(size: int, *, active_every: int) -> PoolSnapshot:
    return PoolSnapshot(
        taken_at=NOW,
        presets=tuple(a_preset(n, is_active=n % active_every == 0) for n in range(size)),
        members=tuple(
            a_member(preset, number)
            for preset in range(0, size, active_every)
            for number in range(MEMBERS_PER_PRESET)
        ),
    )


def count_ready(snapshot: PoolSnapshot) -> dict[UUID, int]:
    """The floor."""
    ready: defaultdict[UUID | None, int] = defaultdict(int)
    for member in snapshot.members:
        if member.transition is Transition.START and member.is_ready:
            ready[member.preset_id] += 1
    return {preset.preset_id: ready[preset.preset_id] for preset in snapshot.presets}


def measure(work: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(ROUNDS):
        gc.collect()
        started_at = perf_counter()
        work()
        times.append(perf_counter() - started_at)
    return statistics.median(times) * 1000


def test_plan() -> None:
    figures: list[Figure] = []
    for installation, active_every in (("quiet", 100), ("busy", 1)):
        for size in (100, 1_000, 10_000):
            snapshot = a_snapshot(size, active_every=active_every)
            pool_plan = plan(snapshot, SETTINGS)
            assert pool_plan.presets_reconciled == size // active_every
            figures.append(
                Figure(
                    installation=installation,
                    presets=size,
                    members=len(snapshot.members),
                    reconciled=pool_plan.presets_reconciled,
                    actions=len(pool_plan.actions),
                    plan_ms=measure(lambda rows=snapshot: plan(rows, SETTINGS)),
                    floor_ms=measure(lambda rows=snapshot: count_ready(rows)),
                )
            )
    print("\ninstallation  presets  members  reconciled  plan ms  floor ms  ratio")
    for each in figures:
        print(
            f"{each.installation:12}  {each.presets:7}  {each.members:7}  {each.reconciled:10}"
            f"  {each.plan_ms:7.2f}  {each.floor_ms:8.2f}  {each.ratio:5.1f}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "plan.json").write_text(
        json.dumps([{**asdict(each), "ratio": each.ratio} for each in figures], indent=2) + "\n"
    )
