"""What becomes of a delivery after an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from reconciler.core.notifications.sinks import (
    Accepted,
    Outcome,
    Refused,
    Unaddressed,
    Unreached,
)

__all__ = ["Bury", "Conclude", "Decision", "Drop", "TryAgain", "decide", "retry_delay"]

DELAY_SECONDS_MAX: Final = 3600.0
ERROR_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Conclude:
    """It arrived."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """It may arrive later."""

    due_at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Bury:
    """It is a dead letter: nobody tries it again unless somebody asks for that."""

    error: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody is missing it: it goes, and is no dead letter."""

    reason: str


Decision: TypeAlias = Conclude | TryAgain | Bury | Drop


def decide(
    outcome: Outcome,
    *,
    attempt: int,
    attempts_max: int,
    first_delay_seconds: float,
    dice: float,
    now: datetime,
) -> Decision:
    """What follows from an attempt, which counts from 1. `dice` is in [0, 1)."""
    match outcome:
        case Accepted():
            return Conclude()
        case Refused(error=error):
            return Bury(error[:ERROR_CHARS_MAX])
        case Unaddressed(reason=reason):
            return Drop(reason)
        case Unreached(error=error):
            if attempt >= attempts_max:
                return Bury(f"{error[:ERROR_CHARS_MAX]} (attempt {attempt} of {attempts_max})")
            delay = retry_delay(attempt, first_delay_seconds=first_delay_seconds, dice=dice)
            return TryAgain(now + delay, error[:ERROR_CHARS_MAX])


def retry_delay(attempt: int, *, first_delay_seconds: float, dice: float) -> timedelta:
    """How long to wait after this attempt: doubled each time up to an hour, the half of it by
    chance.
    """
    doublings = min(attempt - 1, 30)
    ceiling = min(first_delay_seconds * 2**doublings, DELAY_SECONDS_MAX)
    return timedelta(seconds=ceiling * (0.5 + dice / 2))
