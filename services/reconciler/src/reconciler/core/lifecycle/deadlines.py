"""When a running workspace stops by itself.

Promises: a deadline is never after the maximum; a maximum lasts until a stop, so no rebuild, bump
or extension moves it; a workspace that has no deadline gets none by being used.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.lifecycle.policy import TemplatePolicy

__all__ = ["Deadlines", "begin_run", "bump", "extend", "restart_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """When it stops, and past which nothing keeps it running; None for never."""

    deadline_at: datetime | None = None
    max_deadline_at: datetime | None = None


def begin_run(
    policy: TemplatePolicy, ttl_seconds: int, before: Deadlines, now: datetime
) -> Deadlines:
    """After a start has succeeded. `before` has the maximum of a run that no stop has ended."""
    if policy.max_ttl_seconds == 0:
        return _count(ttl_seconds, None, now)
    maximum = now + timedelta(seconds=policy.max_ttl_seconds)
    if before.max_deadline_at is not None:
        maximum = min(maximum, before.max_deadline_at)
    return _count(ttl_seconds, maximum, now)


def restart_run(ttl_seconds: int, before: Deadlines, now: datetime) -> Deadlines:
    """After the time to a stop was changed while it runs: it counts from the change."""
    return _count(ttl_seconds, before.max_deadline_at, now)


def bump(policy: TemplatePolicy, before: Deadlines, now: datetime) -> Deadlines:
    """After it was used: a deadline moves on to the template's bump from now, never back."""
    if before.deadline_at is None or policy.activity_bump_seconds == 0:
        return before
    moved = extend(policy.activity_bump_seconds, before, now)
    if moved.deadline_at is None or moved.deadline_at < before.deadline_at:
        return before
    return moved


def extend(seconds: int, before: Deadlines, now: datetime) -> Deadlines:
    """After a person asked for so long from now."""
    return _count(seconds, before.max_deadline_at, now)


def _count(seconds: int, maximum: datetime | None, now: datetime) -> Deadlines:
    wanted = now + timedelta(seconds=seconds) if seconds else None
    if wanted is None or maximum is None:
        return Deadlines(deadline_at=wanted or maximum, max_deadline_at=maximum)
    return Deadlines(deadline_at=min(wanted, maximum), max_deadline_at=maximum)
