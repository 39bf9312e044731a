"""A snapshot of pools as the database gives it to a pass, made of one with every member's row.

It is what `load_for_pass` promises, written down in Python, so that a test can compare the two, and
what is planned of either.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from uuid import UUID

from reconciler.core.pools import (
    CountedMembers,
    DeleteReason,
    MemberRow,
    MemberTotals,
    PoolSnapshot,
    PresetRow,
    count_nameable,
)
from reconciler.core.pools.standing import Standing, find_lapse, find_standing

__all__ = ["count_alike"]

Kind = tuple[UUID, UUID, bool, DeleteReason | None]


def count_alike(whole: PoolSnapshot, deletions_max: int) -> PoolSnapshot:
    """The snapshot in which ready members that a plan of so many deletions cannot name are only
    counted.
    """
    presets = {preset.preset_id: preset for preset in whole.presets}
    totals: defaultdict[UUID | None, int] = defaultdict(int)
    kinds: defaultdict[Kind, list[MemberRow]] = defaultdict(list)
    kept: list[MemberRow] = []
    for member in whole.members:
        totals[member.preset_id] += 1
        preset = presets.get(member.preset_id) if member.preset_id else None
        if preset is None or find_standing(member) is not Standing.READY:
            kept.append(member)
        else:
            lapse = find_lapse(member, preset, whole.taken_at)
            kind = preset.preset_id, member.template_version_id, member.is_invalidated, lapse
            kinds[kind].append(member)
    counted: list[CountedMembers] = []
    for (preset_id, _, _, lapse), alike in kinds.items():
        alike.sort(key=_age)
        nameable = _count_nameable(presets[preset_id], totals, whole, deletions_max)
        named = nameable if lapse is None else deletions_max
        kept += alike[:named]
        if rest := alike[named:]:
            newest_created_at = max(member.created_at for member in rest)
            counted.append(
                CountedMembers(oldest=rest[0], count=len(rest), newest_created_at=newest_created_at)
            )
    return replace(whole, members=tuple(kept), counted=tuple(counted))


def _count_nameable(
    preset: PresetRow, totals: dict[UUID | None, int], whole: PoolSnapshot, deletions_max: int
) -> int:
    total = MemberTotals(preset_id=preset.preset_id, total=totals[preset.preset_id])
    return count_nameable(preset, total, whole.taken_at, deletions_max)


def _age(member: MemberRow) -> tuple[object, UUID]:
    return member.created_at, member.workspace_id
