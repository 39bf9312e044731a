"""Who is let in, and when the others may come back.

Two limits: how many sessions are held, and how fast new ones are opened. The second is a bucket
that holds a storm's first wave and refills at the rate at which a process can open streams. Who is
refused is told to come back when the bucket has room, spread out, so that the wave does not return
as one.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Admission", "AdmissionLimits", "Admitted", "Refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """How many sessions, and how fast."""

    sessions_max: int
    opens_per_second: float
    opens_burst: int
    retry_seconds: float  # shortest time after which a refused agent is told to come back


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Come in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Come back after this many seconds."""

    reason: str
    retry_after_seconds: float


class Admission:
    """The bucket. Time is whatever monotonic clock it is given, in seconds."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._tokens = float(limits.opens_burst)
        self._refilled_at: float | None = None
        self._refused_ahead = 0.0  # how many were told to come back and have not had the time to

    def decide(
        self, *, now_seconds: float, sessions: int, is_takeover: bool, chance: float
    ) -> Admitted | Refused:
        """Lets one session in or not. `chance` is in [0, 1); a takeover adds no session."""
        self._refill(now_seconds)
        limits = self._limits
        if sessions >= limits.sessions_max and not is_takeover:
            return Refused(
                reason="SESSIONS_EXHAUSTED", retry_after_seconds=limits.retry_seconds * (1 + chance)
            )
        if self._tokens < 1.0:
            # Who knocks without end is no queue: beyond a full house nobody waits longer.
            self._refused_ahead = min(self._refused_ahead + 1.0, float(limits.sessions_max))
            queue_seconds = self._refused_ahead / limits.opens_per_second
            return Refused(
                reason="TOO_MANY_CONNECTS",
                retry_after_seconds=limits.retry_seconds * (1 + chance) + queue_seconds,
            )
        self._tokens -= 1.0
        return Admitted()

    def _refill(self, now_seconds: float) -> None:
        if self._refilled_at is not None:
            gained = max(0.0, now_seconds - self._refilled_at) * self._limits.opens_per_second
            self._tokens = min(float(self._limits.opens_burst), self._tokens + gained)
            self._refused_ahead = max(0.0, self._refused_ahead - gained)
        self._refilled_at = now_seconds
