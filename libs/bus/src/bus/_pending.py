"""The bounded queue behind a subscription, the same for every kind of bus."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bus.api import Message

__all__ = ["PendingMessages"]


class PendingMessages:
    """Received and not yet taken. Full means that the newest is dropped and reported."""

    def __init__(self, pending_max: int, on_drop: Callable[[], None]) -> None:
        if pending_max < 1:
            raise ValueError(f"pending_max {pending_max}: must be at least 1")
        self._messages: deque[Message] = deque()
        self._pending_max = pending_max
        self._on_drop = on_drop
        self._closed = False
        self._arrived = asyncio.Event()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        return self._dropped

    def __aiter__(self) -> PendingMessages:
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.popleft()

    def push(self, message: Message) -> None:
        """Takes a message in, or drops it."""
        if self._closed:
            return
        if len(self._messages) >= self._pending_max:
            self.drop()
            return
        self._messages.append(message)
        self._arrived.set()

    def drop(self) -> None:
        """Notes a message that was lost on its way here."""
        self._dropped += 1
        self._on_drop()

    def close(self) -> None:
        """Ends the iteration and forgets what nobody took."""
        self._closed = True
        self._messages.clear()
        self._arrived.set()
