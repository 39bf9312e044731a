"""The real clock, the real dice and the one place that makes ids.

The agent is installed in every workspace and may not pull in the services' chassis, so it has its
own. Everything else gets time and chance as arguments.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "Entropy", "SystemClock", "SystemEntropy", "new_session_id"]


class Clock(Protocol):
    """What time it is, and waiting."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits this long."""
        ...


class Entropy(Protocol):
    """Chance."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(seconds)


class SystemEntropy:
    """The machine's dice."""

    def random(self) -> float:
        """See `Entropy`."""
        return random.random()


def new_session_id() -> str:
    """An id for one run of the agent."""
    return str(uuid.uuid4())
