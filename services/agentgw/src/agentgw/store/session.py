"""One reinit stream, as seen by what writes it.

The stream takes frame after frame; taking one says that the former was written. A session holds at
most one frame that was not taken, the last: there is nothing to queue, and nothing to overflow when
a peer reads slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentgw.core.frames import Frame, Heartbeat, Reconnect, Superseded, refusal_error
from agentgw.core.verdicts import Deliver, Refuse
from svckit.errors import Aborted

__all__ = ["End", "Session", "name_of_end"]

End = Deliver | Refuse | Reconnect | Superseded


class Session:
    """Used by one task, told by others. Kept small: a gateway holds ten thousand."""

    __slots__ = (
        "_end",
        "_is_beat_due",
        "_is_last_taken",
        "_on_written",
        "_waiter",
        "beat_at",
        "has_heartbeat",
        "key",
        "token_hash",
    )

    def __init__(
        self, key: int, token_hash: bytes, *, on_written: Callable[[bytes, Deliver], None]
    ) -> None:
        self.key = key
        self.token_hash = token_hash
        self.beat_at = 0.0
        """When its next heartbeat is due; kept here for whoever has the clock."""
        self.has_heartbeat = False
        """Whether it has heard one."""
        self._on_written = on_written
        self._waiter: asyncio.Future[None] | None = None
        self._end: End | None = None
        self._is_beat_due = False
        self._is_last_taken = False

    @property
    def end(self) -> End | None:
        """How it ends, once that is decided."""
        return self._end

    async def next_frame(self, heartbeat: Heartbeat) -> Frame | None:
        """The next frame, None after the last. Raises the error the stream is to end with."""
        if self._is_last_taken:
            if isinstance(self._end, Deliver):
                self._on_written(self.token_hash, self._end)
            return None
        while self._end is None and not self._is_beat_due:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        match self._end:
            case None:
                self._is_beat_due = False
                self.has_heartbeat = True
                return heartbeat
            case Deliver() | Reconnect():
                self._is_last_taken = True
                return self._end
            case Refuse():
                raise refusal_error(self._end)
            case Superseded():
                raise Aborted(
                    "a newer session of this agent took over", reason="SESSION_SUPERSEDED"
                )

    def beat(self) -> None:
        """It is to hear a heartbeat now. One that was not written yet is enough."""
        self._is_beat_due = True
        self._wake()

    def greet(self) -> bool:
        """Durable state says wait: the agent hears a first heartbeat. False if it has heard one."""
        if self.has_heartbeat or self._is_beat_due:
            return False
        self.beat()
        return True

    def finish(self, end: End) -> None:
        """It ends so, unless an end was decided before."""
        if self._end is None:
            self._end = end
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def name_of_end(end: End | None) -> str:
    """What metrics and logs call an end; None is a peer that went away."""
    match end:
        case None:
            return "vanished"
        case Deliver():
            return "delivered"
        case Reconnect():
            return "reconnect"
        case Superseded():
            return "superseded"
        case Refuse():
            return end.reason.value.lower()
