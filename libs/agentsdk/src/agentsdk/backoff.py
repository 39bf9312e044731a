"""Exponential backoff with full jitter: a fleet that lost its gateway comes back spread out."""

from __future__ import annotations

from agentsdk.core import Pace
from agentsdk.limits import AgentLimits
from agentsdk.system import Entropy

__all__ = ["Backoff", "Backoffs"]

_DOUBLINGS_MAX = 30  # 2^30 x any initial wait is beyond any maximum, and stays a small number


class Backoff:
    """Waits in [0, initial), [0, 2 x initial), ... up to [0, maximum)."""

    def __init__(self, *, initial_seconds: float, maximum_seconds: float, entropy: Entropy) -> None:
        self._initial_seconds = initial_seconds
        self._maximum_seconds = maximum_seconds
        self._entropy = entropy
        self._failures = 0

    def next(self) -> float:
        """The next wait, in seconds."""
        ceiling = min(self._maximum_seconds, self._initial_seconds * 2.0**self._failures)
        self._failures = min(self._failures + 1, _DOUBLINGS_MAX)
        return self._entropy.random() * ceiling

    def reset(self) -> None:
        """Something worked: start small again."""
        self._failures = 0


class Backoffs:
    """One backoff per pace; whoever waits at one pace starts small again at the other."""

    def __init__(self, limits: AgentLimits, entropy: Entropy) -> None:
        self._fast = Backoff(
            initial_seconds=limits.fast_initial_seconds,
            maximum_seconds=limits.fast_maximum_seconds,
            entropy=entropy,
        )
        self._slow = Backoff(
            initial_seconds=limits.slow_initial_seconds,
            maximum_seconds=limits.slow_maximum_seconds,
            entropy=entropy,
        )

    def next(self, pace: Pace) -> float:
        """The next wait at this pace, in seconds."""
        match pace:
            case Pace.FAST:
                self._slow.reset()
                return self._fast.next()
            case Pace.SLOW:
                self._fast.reset()
                return self._slow.next()

    def reset(self) -> None:
        """Something worked: start small again."""
        self._fast.reset()
        self._slow.reset()
