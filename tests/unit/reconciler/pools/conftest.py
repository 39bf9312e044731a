"""Rows with valid defaults; a test names only what matters to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    BuildHistory,
    MemberRow,
    PoolPlan,
    PoolSettings,
    PoolSnapshot,
    PresetPlan,
    PresetRow,
    Transition,
    plan,
)


class PoolBench:
    """Builders around one moment, Monday noon, and one preset."""

    now = datetime(2027, 3, 1, 12, tzinfo=UTC)
    preset_id = UUID(int=11)
    version_id = UUID(int=1)

    def ago(self, seconds: float) -> datetime:
        return self.now - timedelta(seconds=seconds)

    def preset(self, **changes: Any) -> PresetRow:
        usual = PresetRow(
            preset_id=self.preset_id,
            preset_name="small",
            template_id=UUID(int=21),
            template_name="template",
            template_version_id=self.version_id,
            template_version_name="v1",
            organization_id=UUID(int=31),
            organization_name="default",
            is_version_active=True,
            instances=1,
        )
        return replace(usual, **changes)

    def member(self, number: int, **changes: Any) -> MemberRow:
        """A ready member; the higher its number, the older it is, by a minute each."""
        usual = MemberRow(
            workspace_id=UUID(int=number),
            preset_id=self.preset_id,
            template_version_id=self.version_id,
            created_at=self.ago(60 * number),
            build_number=1,
            transition=Transition.START,
            job=JobStatus.SUCCEEDED,
            is_ready=True,
            started_at=self.ago(60 * number - 20),
            first_ready_at=self.ago(60 * number - 30),
        )
        return replace(usual, **changes)

    def unready(self, number: int, **changes: Any) -> MemberRow:
        return self.member(number, is_ready=False, first_ready_at=None, **changes)

    def unstarted(self, number: int, job: JobStatus, **changes: Any) -> MemberRow:
        return replace(self.unready(number, started_at=None), job=job, **changes)

    def pending(self, number: int, **changes: Any) -> MemberRow:
        return replace(self.unstarted(number, JobStatus.PENDING, is_picked_up=False), **changes)

    def building(self, number: int, **changes: Any) -> MemberRow:
        return self.unstarted(number, JobStatus.RUNNING, **changes)

    def failed(self, number: int, **changes: Any) -> MemberRow:
        return self.unstarted(number, JobStatus.FAILED, **changes)

    def history(self, **changes: Any) -> BuildHistory:
        return replace(BuildHistory(preset_id=self.preset_id), **changes)

    def snapshot(
        self,
        preset: PresetRow,
        *members: MemberRow,
        history: BuildHistory | None = None,
        paused: bool = False,
    ) -> PoolSnapshot:
        return PoolSnapshot(
            taken_at=self.now,
            presets=(preset,),
            members=members,
            histories=() if history is None else (history,),
            paused=paused,
        )

    def plan_all(
        self, preset: PresetRow, *members: MemberRow, history: BuildHistory | None = None
    ) -> PoolPlan:
        return plan(self.snapshot(preset, *members, history=history), PoolSettings())

    def plan_one(
        self, preset: PresetRow, *members: MemberRow, history: BuildHistory | None = None
    ) -> PresetPlan:
        (preset_plan,) = self.plan_all(preset, *members, history=history).presets
        return preset_plan


@pytest.fixture(name="pool")
def _pool() -> PoolBench:
    return PoolBench()
