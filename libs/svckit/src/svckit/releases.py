"""How far releases are apart: those next to each other run side by side, in an upgrade."""

from __future__ import annotations

__all__ = ["releases_apart"]


def releases_apart(one: str, other: str) -> int | None:
    """How many minor releases two versions are apart; None if that cannot be said, as between two
    major ones.
    """
    try:
        (major, minor), (their_major, their_minor) = (
            tuple(int(part) for part in version.split(".")[:2]) for version in (one, other)
        )
    except ValueError:
        return 0 if one == other else None
    return abs(minor - their_minor) if major == their_major else None
