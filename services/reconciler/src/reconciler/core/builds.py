"""What builds leave behind: log lines, agents, resources."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

__all__ = ["BuiltAgent", "BuiltWorkspace", "LogLine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a log. `sequence` is the writer's when stored, the position in the log when
    read.
    """

    sequence: int
    written_at: datetime
    level: str
    stage: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltAgent:
    """An agent a build made or kept. `manifest` is what it runs, as JSON values."""

    id: UUID
    name: str
    token_hash: bytes
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltWorkspace:
    """What a build made. `replacements` are addresses a claim build replaced, with the attributes
    that forced it.
    """

    agents: tuple[BuiltAgent, ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    replacements: tuple[tuple[str, tuple[str, ...]], ...] = ()
