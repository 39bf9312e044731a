"""What a stored template version asks of its user, read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.presets import Parameter, validate_parameters
from svckit.errors import InvalidArgument

__all__ = ["read_parameters", "require_valid"]


def read_parameters(stored: Sequence[Mapping[str, Any]]) -> tuple[Parameter, ...]:
    """The parameters of a version, from its row."""
    return tuple(
        Parameter(
            name=p["name"],
            type=p["type"],
            default_value=p["default_value"],
            has_default=p["has_default"],
            is_mutable=p["mutable"],
            is_ephemeral=p["ephemeral"],
            options=tuple(option["value"] for option in p["options"]),
            validation_regex=p["validation_regex"],
            validation_error=p["validation_error"],
            validation_min=p["validation_min"],
            validation_max=p["validation_max"],
            validation_monotonic=p["validation_monotonic"],
        )
        for p in stored
    )


def require_valid(
    parameters: Sequence[Parameter],
    given: Mapping[str, str],
    previous: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The values a build gets; raises InvalidArgument that names every wrong one."""
    checked = validate_parameters(parameters, given, previous)
    if checked.problems:
        raise InvalidArgument(
            "; ".join(map(str, checked.problems)),
            reason="PARAMETER_INVALID",
            field=checked.problems[0].field,
        )
    return dict(checked.values)
