"""A signal that says only "look now".

Nudges coalesce: a hundred before the loop looks are one look. A nudge between two waits is kept, so
a loop that looks after each `wait` misses nothing. One waiter per nudge.
"""

from __future__ import annotations

import asyncio

__all__ = ["Nudge"]


class Nudge:
    """Wakes a level-triggered loop before its tick."""

    def __init__(self) -> None:
        """Make one that nobody has set."""
        self._event = asyncio.Event()

    def set(self) -> None:
        """Make the next `wait`, or the one under way, return at once."""
        self._event.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for a nudge, at most `timeout_seconds`; True if there was one: it is used up."""
        if self._event.is_set():
            self._event.clear()
            return True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
