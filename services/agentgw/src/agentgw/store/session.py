"""One reinit stream, as seen by what writes it.

The stream takes frame after frame; taking one says that the former was written. A session holds at
most one frame that was not taken, the last: there is nothing to queue, and nothing to overflow when
a peer reads slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from agentgw.core.frames import Frame, Heartbeat, Reconnect, Superseded, refusal_error
from agentgw.core.verdicts import Deliver, Refuse
from svckit.errors import Aborted
from svckit.system import Entropy

__all__ = ["End", "Session", "name_of_end"]

FIRST_FRAME_SECONDS: Final = 1.0  # by then an agent hears something, even if nothing can be read
HEARTBEAT_JITTER: Final = 0.2  # heartbeats come up to this part earlier than promised

End = Deliver | Refuse | Reconnect | Superseded


class Session:
    """Used by one task, told by others."""

    __slots__ = (
        "_changed",
        "_end",
        "_entropy",
        "_has_heartbeat",
        "_heartbeat_seconds",
        "_is_last_taken",
        "_is_told",
        "_on_written",
        "key",
        "token_hash",
    )

    def __init__(
        self,
        key: int,
        token_hash: bytes,
        *,
        heartbeat_seconds: float,
        entropy: Entropy,
        on_written: Callable[[bytes, Deliver], None],
    ) -> None:
        self.key = key
        self.token_hash = token_hash
        self._heartbeat_seconds = heartbeat_seconds
        self._entropy = entropy
        self._on_written = on_written
        self._changed = asyncio.Event()
        self._end: End | None = None
        self._is_told = False
        self._has_heartbeat = False
        self._is_last_taken = False

    @property
    def end(self) -> End | None:
        """How it ends, once that is decided."""
        return self._end

    async def next_frame(self) -> Frame | None:
        """The next frame, None after the last. Raises the error the stream is to end with."""
        if self._is_last_taken:
            if isinstance(self._end, Deliver):
                self._on_written(self.token_hash, self._end)
            return None
        if self._end is None and (self._has_heartbeat or not self._is_told):
            await self._wait()
        match self._end:
            case None:
                self._has_heartbeat = True
                return Heartbeat(interval_seconds=self._heartbeat_seconds)
            case Deliver() | Reconnect():
                self._is_last_taken = True
                return self._end
            case Refuse():
                raise refusal_error(self._end)
            case Superseded():
                raise Aborted(
                    "a newer session of this agent took over", reason="SESSION_SUPERSEDED"
                )

    def tell_waiting(self) -> None:
        """Durable state says wait: the agent hears a first heartbeat, if it has heard none."""
        if not self._has_heartbeat:
            self._is_told = True
            self._changed.set()

    def finish(self, end: End) -> None:
        """It ends so, unless an end was decided before."""
        if self._end is None:
            self._end = end
            self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(self._wait_seconds()):
                await self._changed.wait()
        except TimeoutError:
            return

    def _wait_seconds(self) -> float:
        if not self._has_heartbeat:
            return min(FIRST_FRAME_SECONDS, self._heartbeat_seconds)
        return self._heartbeat_seconds * (1.0 - HEARTBEAT_JITTER * self._entropy.random())


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
