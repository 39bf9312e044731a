"""When each session is to hear its next heartbeat: one wheel for all of them.

Ten thousand streams would otherwise hold a timer each. A session is in one slot of the wheel per
time it was put there; which of them still counts is for the caller to know, so that nothing has to
be looked for when a session ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["HeartbeatPace", "HeartbeatWheel"]

FIRST_SHARE_MIN: Final = 0.2  # of an interval; spreads those who came at once, for good
SLOTS_PER_INTERVAL: Final = 8
SLOT_SECONDS_MAX: Final = 0.5  # more at a time cost less each; ten thousand agents make 100 then
FIRST_FRAME_SECONDS: Final = 1.0  # by then an agent hears something, even if nothing can be read


class HeartbeatPace:
    """How far apart heartbeats are, so that each comes within the time that was promised."""

    def __init__(self, interval_seconds: float) -> None:
        self.interval_seconds: Final = interval_seconds
        self.slot_seconds: Final = min(SLOT_SECONDS_MAX, interval_seconds / SLOTS_PER_INTERVAL)
        self.first_seconds: Final = min(FIRST_FRAME_SECONDS, interval_seconds)

    @property
    def steady_seconds(self) -> float:
        """From one heartbeat to the next. The wheel may be two slots late."""
        return self.interval_seconds - 2 * self.slot_seconds

    def spread_seconds(self, chance: float) -> float:
        """From the first heartbeat to the second; `chance` is in [0, 1)."""
        return self.steady_seconds * (FIRST_SHARE_MIN + (1.0 - FIRST_SHARE_MIN) * chance)


class HeartbeatWheel:
    """Pure. Times are seconds of one monotonic clock."""

    def __init__(self, slot_seconds: float) -> None:
        self._slot_seconds = slot_seconds
        self._slots: dict[int, list[int]] = {}

    def put(self, session_key: int, *, at_seconds: float) -> None:
        """This session is due then."""
        slot = int(at_seconds / self._slot_seconds)
        self._slots.setdefault(slot, []).append(session_key)

    def take_due(self, *, now_seconds: float) -> Sequence[int]:
        """Who is due, and is put there no more; earliest first. It may be a slot early."""
        current = int(now_seconds / self._slot_seconds)
        due = sorted(slot for slot in self._slots if slot <= current)
        return [key for slot in due for key in self._slots.pop(slot)]
