"""How sessions are sent away before a stop: a few at a time, over a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["DrainStep", "plan_drain"]

STEP_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStep:
    """Send these sessions away, so long after the start."""

    offset_seconds: float
    session_keys: tuple[int, ...]


def plan_drain(session_keys: Sequence[int], *, window_seconds: float) -> tuple[DrainStep, ...]:
    """Spreads sessions evenly over the window, in steps; the first is at once."""
    if not session_keys:
        return ()
    steps = max(1, min(len(session_keys), int(window_seconds / STEP_SECONDS)))
    bounds = [len(session_keys) * step // steps for step in range(steps + 1)]
    return tuple(
        DrainStep(
            offset_seconds=step * window_seconds / steps,
            session_keys=tuple(session_keys[bounds[step] : bounds[step + 1]]),
        )
        for step in range(steps)
    )
