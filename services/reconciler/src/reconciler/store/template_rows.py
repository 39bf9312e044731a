"""Rows of template versions and presets, read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import asyncpg

from reconciler.core.lifecycle import TemplatePolicy
from reconciler.core.templates import (
    ImportedOption,
    ImportedParameter,
    ImportedPrebuilds,
    ImportedPreset,
    ImportedSchedule,
    PresetView,
    TemplateView,
    VersionView,
)

__all__ = ["POLICY_FIELDS", "read_policy", "read_template", "read_version"]

POLICY_FIELDS: Final = tuple(field.name for field in fields(TemplatePolicy))
"""A template's policy has a column of the same name for every field."""


def read_policy(row: asyncpg.Record) -> TemplatePolicy:
    """The policy in a row with its columns."""
    return TemplatePolicy(**{name: row[name] for name in POLICY_FIELDS})


def read_template(row: asyncpg.Record) -> TemplateView:
    """A template."""
    own = {name: value for name, value in row.items() if name not in POLICY_FIELDS}
    return TemplateView(**own, policy=read_policy(row))


def read_version(row: asyncpg.Record, presets: Sequence[asyncpg.Record] = ()) -> VersionView:
    """A version, with its presets if they were asked for."""
    return VersionView(
        id=row["id"],
        template_id=row["template_id"],
        organization_id=row["organization_id"],
        name=row["name"],
        job_id=row["job_id"],
        import_status=row["status"],
        import_error=row["error"],
        is_active=row["is_active"],
        created_at=row["created_at"],
        message=row["message"],
        parameters=tuple(map(_read_parameter, row.get("parameters") or ())),
        presets=tuple(map(_read_preset, presets)),
    )


def _read_parameter(stored: dict[str, Any]) -> ImportedParameter:
    fields: dict[str, Any] = {**stored}
    fields["options"] = tuple(ImportedOption(**option) for option in stored["options"])
    return ImportedParameter(**fields)


def _read_preset(row: asyncpg.Record) -> PresetView:
    pool = row["instances"] is not None
    return PresetView(
        id=row["id"],
        preset=ImportedPreset(
            name=row["name"],
            is_default=row["is_default"],
            parameters=row["parameters"],
            description=row["description"],
            icon=row["icon"],
            prebuilds=ImportedPrebuilds(
                instances=row["instances"],
                ttl_seconds=row["ttl_seconds"],
                timezone=row["timezone"],
                schedules=tuple(ImportedSchedule(**schedule) for schedule in row["schedules"]),
            )
            if pool
            else None,
        ),
    )
