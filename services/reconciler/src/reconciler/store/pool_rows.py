"""Rows of pools, as the core knows them. `sort_out` tells the pools at rest from the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

import asyncpg

from reconciler.core.jobs import JobStatus
from reconciler.core.pools import (
    BuildHistory,
    CountedMembers,
    Loss,
    MemberRow,
    MemberTotals,
    PoolHealth,
    PresetRow,
    RestingPool,
    ScheduleRow,
    Transition,
    count_nameable,
    is_resting,
)

__all__ = [
    "Sorted",
    "foreign_organizations",
    "read_histories",
    "read_member",
    "read_members",
    "read_preset",
    "sort_out",
]


PRESETS_KEPT_MAX = 16_384  # a kilobyte or so each


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What of a preset's members must be read: how many ready ones that may stay, None for all; and
    if all that are started are ready and alike, how many they are, and when the newest was created.
    """

    nameable: int | None = None
    ready: int | None = None
    newest_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Pools at rest, the others, and the presets whose members must be read."""

    resting: tuple[RestingPool, ...]
    presets: tuple[PresetRow, ...]
    histories: tuple[BuildHistory, ...]
    reads: dict[UUID, Reads]


def sort_out(
    presets: Iterable[asyncpg.Record],
    totals: Sequence[asyncpg.Record],
    histories: Iterable[BuildHistory],
    now: datetime,
    deletions_max: int,
) -> Sorted:
    """Tells pools at rest, whose members need not be read, from the others."""
    history_of = {history.preset_id: history for history in histories}
    totals_of = {row["preset_id"]: _read_totals(row) for row in totals}
    resting: list[RestingPool] = []
    others: list[PresetRow] = []
    rows = {row["preset_id"]: row for row in totals}
    reads: dict[UUID, Reads] = {}
    for preset in map(read_preset, presets):
        total = totals_of.pop(preset.preset_id, None)
        history = history_of.get(preset.preset_id)
        if not is_resting(preset, total, history, now):
            others.append(preset)
            nameable = count_nameable(preset, total, now, deletions_max)
            reads[preset.preset_id] = _find_reads(preset, rows.get(preset.preset_id), nameable, now)
        elif total is None:
            resting.append(RestingPool(preset=preset))
        else:
            resting.append(
                RestingPool(
                    preset=preset,
                    member_count=total.total,
                    oldest_created_at=total.oldest_created_at,
                )
            )
    histories_of_others = tuple(each for each in history_of.values() if each.preset_id in reads)
    reads.update((preset_id, Reads()) for preset_id in totals_of if preset_id is not None)
    return Sorted(
        resting=tuple(resting),
        presets=tuple(others),
        histories=histories_of_others,
        reads=reads,
    )


def _find_reads(
    preset: PresetRow, row: asyncpg.Record | None, nameable: int, now: datetime
) -> Reads:
    if row is None or row["plain"] != row["started"]:
        return Reads(nameable=nameable)
    ttl = timedelta(seconds=preset.ttl_seconds)
    if ttl and now - row["oldest_created_at"] > ttl:  # some have expired, some may not have
        return Reads(nameable=nameable)
    return Reads(nameable=nameable, ready=row["plain"], newest_at=row["newest_plain_at"])


def foreign_organizations(
    presets: Iterable[asyncpg.Record], joined: Sequence[UUID]
) -> tuple[UUID, ...]:
    """Organizations with pools of which the pool's user is no member."""
    keeping = {row["organization_id"] for row in presets if row["is_active"]}
    return tuple(sorted(keeping.difference(joined)))


@lru_cache(maxsize=PRESETS_KEPT_MAX)
def read_preset(r: asyncpg.Record) -> PresetRow:
    """A row of `load_presets`. Most are the same in every pass."""
    return PresetRow(
        preset_id=r["id"],
        preset_name=r["name"],
        template_id=r["template_id"],
        template_name=r["template_name"],
        template_version_id=r["version_id"],
        template_version_name=r["version_name"],
        organization_id=r["organization_id"],
        organization_name=r["organization_name"],
        is_version_active=r["is_active"],
        is_template_retired=r["template_deleted"],
        instances=r["instances"] or 0,
        ttl_seconds=r["ttl_seconds"],
        schedules=_read_schedules(r["schedules"]),
        timezone=r["timezone"],
        health=PoolHealth(r["health"]),
        resumed_at=r["resumed_at"],
        stop_reason=r["stop_reason"],
        paused=r["is_paused"],
        members_made=r["members_made"],
    )


def read_member(r: asyncpg.Record) -> MemberRow:
    """A row of `load_members`."""
    job = JobStatus(r["latest_job_status"])
    is_started = r["latest_transition"] == "start" and job is JobStatus.SUCCEEDED
    return MemberRow(
        workspace_id=r["id"],
        preset_id=r["preset_id"],
        template_version_id=r["latest_template_version_id"],
        created_at=r["created_at"],
        build_number=r["latest_build_number"],
        transition=Transition(r["latest_transition"]),
        job=job,
        is_picked_up=job is not JobStatus.PENDING or r["was_picked_up"],
        is_ready=is_started and r["is_ready"],
        started_at=r["latest_build_finished_at"] if is_started else None,
        first_ready_at=r["ready_at"],
        unready_since=r["unready_since"] if is_started else None,
        is_invalidated=r["invalidated_at"] is not None,
        delete_failure_count=r["delete_failures"],
        delete_failed_at=r["delete_failed_at"],
    )


def read_members(
    rows: Iterable[asyncpg.Record],
) -> tuple[tuple[MemberRow, ...], tuple[CountedMembers, ...]]:
    """The rows of `load_members`: members, and those that stand for others."""
    members: list[MemberRow] = []
    counted: list[CountedMembers] = []
    for row in rows:
        if row["alike"] is None:
            members.append(read_member(row))
        else:
            counted.append(_read_counted(row))
    return tuple(members), tuple(counted)


def _read_counted(r: asyncpg.Record) -> CountedMembers:
    return CountedMembers(oldest=read_member(r), count=r["alike"], newest_created_at=r["newest_at"])


def read_histories(
    ends: Iterable[asyncpg.Record], losses: Iterable[asyncpg.Record]
) -> tuple[BuildHistory, ...]:
    """Rows of `load_histories` and `load_losses`."""
    histories = {row["preset_id"]: _read_history(row) for row in ends}
    for row in losses:
        preset_id = row["preset_id"]
        histories[preset_id] = replace(
            histories.get(preset_id) or BuildHistory(preset_id=preset_id),
            losses=tuple(
                Loss(created_at=created_at, lost_at=lost_at)
                for created_at, lost_at in zip(row["created_ats"], row["lost_ats"], strict=True)
            ),
            last_proven_at=row["proven_at"],
        )
    return tuple(histories.values())


def _read_history(r: asyncpg.Record) -> BuildHistory:
    return BuildHistory(
        preset_id=r["preset_id"],
        recent_failure_count=r["recent_failures"],
        consecutive_failure_count=r["consecutive_failures"],
        last_failed_at=r["last_failed_at"],
        last_failed_created_at=r["last_failed_created_at"],
        last_succeeded_created_at=r["last_succeeded_created_at"],
    )


@lru_cache(maxsize=PRESETS_KEPT_MAX)
def _read_schedules(text: str) -> tuple[ScheduleRow, ...]:
    """Many presets have the same, most have none."""
    return tuple(
        ScheduleRow(cron=each["cron"], instances=each["instances"]) for each in json.loads(text)
    )


def _read_totals(r: asyncpg.Record) -> MemberTotals:
    return MemberTotals(
        preset_id=r["preset_id"],
        total=r["total"],
        plain=r["plain"],
        oldest_created_at=r["oldest_created_at"],
    )
