"""Dry runs that people ask for: which are needed to check a version, and what they found.

A preset with a pool is checked by planning a claim upon one of its prebuilds, because only that
tells what a claim would replace. Without a prebuild, or with values of one's own, a new workspace
is planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import UUID

from reconciler.core.imports import to_rows
from reconciler.core.parameters import read_parameters, require_valid
from reconciler.core.templates import PresetView, VersionView
from svckit.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted

__all__ = [
    "Asked",
    "CheckView",
    "Findings",
    "decide_dry_runs",
    "from_row",
    "judge_end",
    "require_room",
    "to_row",
]

CHECKS_MAX: Final = 20
"""Of one request: each costs a worker a plan."""
WAITING_MAX: Final = 100
"""Of one organization: five requests of the largest kind."""
LISTED_MAX: Final = 1000
"""Resources kept of one plan."""
NOT_RECORDED: Final = (
    "what the plan found was not recorded, as while the release before still serves; check again"
)

Changes = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A dry run to be queued. `pool_id` is the preset whose prebuilds may be used, if any may."""

    preset: str
    parameters: dict[str, str]
    pool_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a dry run found: addresses, and addresses each with attributes."""

    resources: tuple[str, ...] = ()
    replacements: Changes = ()
    owner_dependent: Changes = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """A dry run as its asker sees it. `prebuild` is empty if a new workspace is planned."""

    job_id: UUID
    organization_id: UUID
    provisioner_type: str
    preset: str
    prebuild: str
    status: str
    error: str
    findings: Findings = field(default_factory=Findings)


def decide_dry_runs(
    version: VersionView, preset_name: str, given: Mapping[str, str]
) -> tuple[Asked, ...]:
    """The dry runs that check a version. Raises if it is not imported, if it has no such preset, or
    if a value is not allowed.
    """
    if version.import_status != "succeeded":
        raise FailedPrecondition(
            f'version: "{version.name}" is not imported: its import is {version.import_status}',
            reason="VERSION_NOT_IMPORTED",
            field="version",
        )
    chosen = _choose_presets(version, preset_name)
    if len(chosen) > CHECKS_MAX:
        raise InvalidArgument(
            f"preset: {len(chosen)} presets keep a pool; at most {CHECKS_MAX} are checked at once,"
            " so name one",
            reason="TOO_MANY_PRESETS",
            field="preset",
        )
    parameters = read_parameters(to_rows(version.parameters))
    return tuple(
        Asked(
            preset=view.preset.name if view else "",
            parameters=require_valid(
                parameters, {**(view.preset.parameters if view else {}), **given}
            ),
            pool_id=view.id if view and view.preset.prebuilds and not given else None,
        )
        for view in chosen
    )


def require_room(waiting: int, more: int) -> None:
    """Raises ResourceExhausted if too many checks of an organization would wait."""
    if waiting + more > WAITING_MAX:
        raise ResourceExhausted(
            f"template: {waiting} checks of its organization wait already; with {more} more they"
            f" would be over {WAITING_MAX}, so ask again when some are done",
            reason="TOO_MANY_CHECKS",
            field="template",
        )


def _choose_presets(version: VersionView, name: str) -> Sequence[PresetView | None]:
    if not name:
        return [view for view in version.presets if view.preset.prebuilds is not None] or [None]
    found = [view for view in version.presets if view.preset.name == name]
    if not found:
        known = ", ".join(f'"{view.preset.name}"' for view in version.presets) or "none"
        raise NotFound(
            f'preset: version "{version.name}" has no preset "{name[:64]}"; it has {known}',
            reason="PRESET_UNKNOWN",
            field="preset",
        )
    return found


def to_row(findings: Findings) -> dict[str, Any]:
    """Findings as a job's row keeps them."""
    return {
        "resources": list(findings.resources[:LISTED_MAX]),
        "replacements": _to_lists(findings.replacements),
        "owner_dependent": _to_lists(findings.owner_dependent),
    }


def from_row(stored: Mapping[str, Any]) -> Findings:
    """What a row kept; nothing while the dry run is under way."""
    return Findings(
        resources=tuple(stored.get("resources", ())),
        replacements=_from_lists(stored.get("replacements", ())),
        owner_dependent=_from_lists(stored.get("owner_dependent", ())),
    )


def judge_end(status: str, error: str, stored: Mapping[str, Any]) -> tuple[str, str]:
    """How a check ended, and why: a plan that is done and of which nothing was kept is no check. A
    reconciler of 0.1, which knows no findings, took the worker's report.
    """
    if status == "succeeded" and not to_row(Findings()).keys() <= stored.keys():
        return "failed", NOT_RECORDED
    return status, error


def _to_lists(changes: Changes) -> list[list[Any]]:
    return [[address, list(paths)] for address, paths in changes[:LISTED_MAX]]


def _from_lists(stored: Sequence[Any]) -> Changes:
    pairs = cast("Sequence[tuple[str, Sequence[str]]]", stored)
    return tuple((address, tuple(paths)) for address, paths in pairs)
