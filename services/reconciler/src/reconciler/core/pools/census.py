"""The census of one preset's members.

Promise: every member that is not gone is in exactly one group, whatever its rows say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reconciler.core.pools.actions import DeleteReason
from reconciler.core.pools.settings import PoolSettings
from reconciler.core.pools.snapshot import CountedMembers, MemberRow, PresetRow
from reconciler.core.pools.standing import (
    Standing,
    find_lapse,
    find_standing,
    is_never_ready,
    lost_after,
)

__all__ = ["Census", "take_census"]


@dataclass(frozen=True, kw_only=True)
class Census:
    """The members of one preset by what can be done with them, oldest first in each group.

    Supply is what counts against the desired size: pending, building, ready and unready. At most
    half of the pool, but at least one, is given up as `lost` at any time: what takes more than
    that away at once may give it back. The others wait among the unready until replacements are
    ready, so they stay where no replacement may be made.

    `ready_counted` and `lapsed_counted` are how many more of these there are than are named.
    """

    pending: tuple[MemberRow, ...]
    pending_lapsed: tuple[MemberRow, ...]
    building: tuple[MemberRow, ...]
    building_lapsed: tuple[MemberRow, ...]
    stopping: tuple[MemberRow, ...]
    ready: tuple[MemberRow, ...]
    unready: tuple[MemberRow, ...]
    never_ready: tuple[MemberRow, ...]
    lost: tuple[MemberRow, ...]
    lapsed: tuple[tuple[MemberRow, DeleteReason], ...]
    ready_counted: int
    lapsed_counted: int
    failed: tuple[MemberRow, ...]
    halted: tuple[MemberRow, ...]
    deleting: tuple[MemberRow, ...]
    delete_failed: tuple[MemberRow, ...]

    @property
    def ready_count(self) -> int:
        """How many can be claimed now."""
        return len(self.ready) + self.ready_counted

    @property
    def running_count(self) -> int:
        """How many are started and may be kept."""
        return self.ready_count + len(self.unready)

    @property
    def supply_count(self) -> int:
        """How many are there or on their way, and may be kept."""
        return len(self.pending) + len(self.building) + self.running_count


def take_census(
    members: tuple[MemberRow, ...],
    counted: tuple[CountedMembers, ...],
    preset: PresetRow,
    desired: int,
    now: datetime,
    settings: PoolSettings,
    hearing_since: datetime | None,
) -> Census:
    """Puts every member in its group."""
    ready_counted = sum(
        group.count for group in counted if find_lapse(group.oldest, preset, now) is None
    )
    pending: list[MemberRow] = []
    pending_lapsed: list[MemberRow] = []
    building: list[MemberRow] = []
    building_lapsed: list[MemberRow] = []
    stopping: list[MemberRow] = []
    ready: list[MemberRow] = []
    unready: list[MemberRow] = []
    never_ready: list[MemberRow] = []
    lapsed: list[tuple[MemberRow, DeleteReason]] = []
    failed: list[MemberRow] = []
    halted: list[MemberRow] = []
    deleting: list[MemberRow] = []
    delete_failed: list[MemberRow] = []
    for member in sorted(members, key=_age):
        lapse = find_lapse(member, preset, now)
        match find_standing(member):
            case Standing.PENDING:
                (pending if lapse is None else pending_lapsed).append(member)
            case Standing.BUILDING:
                (building if lapse is None else building_lapsed).append(member)
            case Standing.STOPPING:
                stopping.append(member)
            case Standing.DELETING:
                deleting.append(member)
            case Standing.DELETE_FAILED:
                delete_failed.append(member)
            case Standing.GONE:
                pass
            case Standing.READY | Standing.UNREADY | Standing.FAILED if lapse is not None:
                lapsed.append((member, lapse))
            case Standing.READY:
                ready.append(member)
            case Standing.UNREADY:
                late = is_never_ready(member, now, settings.never_ready_timeout_seconds)
                (never_ready if late else unready).append(member)
            case Standing.FAILED:
                failed.append(member)
            case Standing.HALTED:
                halted.append(member)
    coming = len(pending) + len(building)
    ready_count = len(ready) + ready_counted
    lost = _find_lost(unready, ready_count, coming, desired, now, settings, hearing_since)
    return Census(
        pending=tuple(pending),
        pending_lapsed=tuple(pending_lapsed),
        building=tuple(building),
        building_lapsed=tuple(building_lapsed),
        stopping=tuple(stopping),
        ready=tuple(ready),
        unready=tuple(member for member in unready if member not in lost),
        never_ready=tuple(never_ready),
        lost=lost,
        lapsed=tuple(lapsed),
        ready_counted=ready_counted,
        lapsed_counted=sum(group.count for group in counted) - ready_counted,
        failed=tuple(failed),
        halted=tuple(halted),
        deleting=tuple(deleting),
        delete_failed=tuple(delete_failed),
    )


def _find_lost(
    unready: list[MemberRow],
    ready_count: int,
    coming_count: int,
    desired: int,
    now: datetime,
    settings: PoolSettings,
    hearing_since: datetime | None,
) -> tuple[MemberRow, ...]:
    timeout = settings.lost_timeout_seconds
    lost = tuple(
        member
        for member in unready
        if (after := lost_after(member, hearing_since, timeout)) is not None and now > after
    )
    supply_count = ready_count + len(unready) + coming_count
    coming_count += sum(1 for member in unready if member.first_ready_at is None)
    missing_count = max(0, desired - supply_count)
    size = max(desired, supply_count)
    return lost[: max(0, max(1, size // 2) - coming_count - missing_count)]


def _age(member: MemberRow) -> tuple[datetime, UUID]:
    return member.created_at, member.workspace_id
