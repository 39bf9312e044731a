"""What builds leave behind: log lines, agents, resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

__all__ = ["BuiltAgent", "BuiltWorkspace", "LogLine", "describe_rehearsal", "describe_replacements"]

NAMED_MAX = 10  # of what one sentence lists


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


def describe_replacements(
    replacements: Sequence[tuple[str, Sequence[str]]],
    *,
    workspace: str,
    template: str,
    preset: str,
) -> str:
    """What template admins are told of a claim that destroyed what it should have kept."""
    return (
        f'The claim of workspace "{workspace}" replaced what the pool had warmed (template'
        f' "{template}", preset "{preset}"): {_list(replacements)}. Such attributes must not depend'
        " on the owner, or belong in the resource's ignore_changes."
    )


def describe_rehearsal(
    replacements: Sequence[tuple[str, Sequence[str]]],
    *,
    template: str,
    version: str,
    preset: str,
) -> str:
    """What template admins are told when a claim was planned that nobody asked for yet."""
    return (
        f'A claim of a prebuild of template "{template}", version "{version}", preset "{preset}"'
        f" would replace what the pool has warmed: {_list(replacements)}. Such attributes must not"
        " depend on the owner, or belong in the resource's ignore_changes."
    )


def _list(replacements: Sequence[tuple[str, Sequence[str]]]) -> str:
    named = [
        f"{address[:200]} ({', '.join(path[:200] for path in paths[:NAMED_MAX]) or 'no attribute'})"
        for address, paths in replacements[:NAMED_MAX]
    ]
    if len(replacements) > NAMED_MAX:
        named.append(f"{len(replacements) - NAMED_MAX} more")
    return "; ".join(named)
