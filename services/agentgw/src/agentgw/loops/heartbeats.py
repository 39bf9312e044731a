"""Heartbeats for every stream, from one loop."""

from __future__ import annotations

from agentgw.store.sessions import Sessions
from svckit.system import Clock

__all__ = ["HeartbeatLoop"]


class HeartbeatLoop:
    """The loop."""

    def __init__(self, sessions: Sessions, *, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def run(self) -> None:
        """Beats for ever."""
        while True:
            await self._clock.sleep(self._sessions.pace.slot_seconds)
            self._sessions.beat()
