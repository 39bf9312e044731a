"""Presets and parameters: which preset a request means, and whether its values are allowed."""

from __future__ import annotations

from reconciler.core.presets.match import PresetChoice, match_preset
from reconciler.core.presets.parameters import (
    Parameter,
    ParameterProblem,
    ParametersChecked,
    differs_in_immutable,
    validate_parameters,
)
from reconciler.core.presets.pattern import PatternInvalid, check_pattern

__all__ = [
    "Parameter",
    "ParameterProblem",
    "ParametersChecked",
    "PatternInvalid",
    "PresetChoice",
    "check_pattern",
    "differs_in_immutable",
    "match_preset",
    "validate_parameters",
]
