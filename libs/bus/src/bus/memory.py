"""The bus within one process: for tests, simulations and tools.

Held to the same suite as the real one, and able to misbehave on request: lose the next messages,
be disturbed, go down and come back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bus._disturbances import Disturbances
from bus._pending import PendingMessages
from bus.api import (
    PENDING_MAX,
    Bus,
    Message,
    Subscription,
    check_message,
    check_pattern,
    check_subject,
    matches,
)
from bus.errors import BusUnavailable

__all__ = ["MemoryBus"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Listener:
    pattern: str
    queue: str | None
    pending: PendingMessages


class MemoryBus(Bus):
    """Delivers at once, to every listener that matches."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._turns: dict[tuple[str, str], int] = {}
        self._disturbances = Disturbances()
        self._connected = True
        self._closed = False
        self._drops_left = 0

    @property
    def connected(self) -> bool:
        return self._connected and not self._closed

    @property
    def generation(self) -> int:
        return self._disturbances.generation

    async def publish(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        check_subject(subject)
        check_message(payload, headers or {})
        self._require_connected()
        if self._drops_left > 0:
            self._drops_left -= 1
            return
        message = Message(subject=subject, payload=bytes(payload), headers=dict(headers or {}))
        for pending in self._receivers(subject):
            pending.push(message)

    async def flush(self) -> None:
        self._require_connected()

    @asynccontextmanager
    async def subscribe(
        self, subject: str, *, queue: str | None = None, pending_max: int = PENDING_MAX
    ) -> AsyncGenerator[Subscription, None]:
        check_pattern(subject)
        if queue is not None:
            check_subject(queue)
        if self._closed:
            raise BusUnavailable("the bus is closed")
        pending = PendingMessages(pending_max, self._disturbances.report)
        listener = _Listener(pattern=subject, queue=queue, pending=pending)
        self._listeners.append(listener)
        try:
            yield pending
        finally:
            pending.close()
            if listener in self._listeners:
                self._listeners.remove(listener)

    def on_disturbance(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self._disturbances.listen(callback)

    async def close(self) -> None:
        self._closed = True
        for listener in self._listeners:
            listener.pending.close()
        self._listeners.clear()

    def drop_next(self, count: int = 1) -> None:
        """Loses the next messages without a word, as a network may."""
        self._drops_left += count

    def disturb(self) -> None:
        """Behaves as after a connection that broke and was mended."""
        self._disturbances.report()

    def go_down(self) -> None:
        """Refuses messages until `come_back`."""
        self._connected = False

    def come_back(self) -> None:
        """Takes messages again, and says that some may have been lost."""
        self._connected = True
        self._disturbances.report()

    def _require_connected(self) -> None:
        if self._closed:
            raise BusUnavailable("the bus is closed")
        if not self._connected:
            raise BusUnavailable("the bus is not connected")

    def _receivers(self, subject: str) -> list[PendingMessages]:
        receivers: list[PendingMessages] = []
        groups: dict[tuple[str, str], list[PendingMessages]] = {}
        for listener in self._listeners:
            if not matches(listener.pattern, subject):
                continue
            if listener.queue is None:
                receivers.append(listener.pending)
            else:
                groups.setdefault((listener.queue, listener.pattern), []).append(listener.pending)
        for group, members in groups.items():
            turn = self._turns.get(group, 0)
            self._turns[group] = turn + 1
            receivers.append(members[turn % len(members)])
        return receivers
