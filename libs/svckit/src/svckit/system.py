"""The real clock and the real dice.

Nothing else in the services reads time or chance: both are arguments, so that a test can own them.
What `testkit` offers in their place has the same two protocols.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "Entropy", "SystemClock", "SystemEntropy", "new_id", "new_token"]

_TOKEN_BYTES = 32  # 256 bit: guessing is hopeless, so a plain SHA-256 is enough to store it


class Clock(Protocol):
    """Tells the time and waits for it to pass."""

    def now(self) -> datetime:
        """The wall clock, aware and in UTC. May jump; never use it to measure a duration."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment. Never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` (0 or less: only let others run)."""
        ...


class Entropy(Protocol):
    """Rolls dice, for jitter."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The wall clock, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(max(seconds, 0.0))


class SystemEntropy:
    """The dice of the machine. Good for jitter, not for secrets: those come from `new_token`."""

    def random(self) -> float:
        """A number in [0, 1)."""
        return random.random()


def new_id() -> uuid.UUID:
    """A fresh random id."""
    return uuid.uuid4()


def new_token() -> str:
    """A fresh secret of 256 bit, safe in URLs and headers."""
    return secrets.token_urlsafe(_TOKEN_BYTES)
