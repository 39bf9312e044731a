"""Which preset a request means that names none.

Promises: deterministic, whatever the order of the presets. Only values the request gives count;
defaults of the template do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

__all__ = ["PresetChoice", "match_preset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetChoice:
    """A preset of the version that is asked for, and the values it sets."""

    preset_id: UUID
    name: str
    is_default: bool
    parameters: Mapping[str, str]


def match_preset(given: Mapping[str, str], presets: Iterable[PresetChoice]) -> PresetChoice | None:
    """The preset all of whose values are given, None if there is none. The one with the most values
    wins, then the default one, then the first by name; so a preset without values, which every
    request meets, is taken only if nothing else matches.
    """
    matching = [preset for preset in presets if preset.parameters.items() <= given.items()]
    return min(
        matching,
        key=lambda preset: (-len(preset.parameters), not preset.is_default, preset.name),
        default=None,
    )
