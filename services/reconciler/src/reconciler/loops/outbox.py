"""Says on the bus what committed transactions promised to say. At least once: what the bus has not
got for certain is said again.

What this replica has just committed is said at once, from memory; a moment later, when it is
certain that the bus has it, all rows of that moment go together. Whatever else is in the outbox (of
a replica that died, of a bus that was away) is found by looking, slowly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bus.api import Bus
from bus.errors import BusError, BusUnavailable, EventInvalid
from bus.events import decode_claim, encode_event
from reconciler.core.hints import Promise
from reconciler.store.outbox import BATCH_MAX, Outbox
from svckit.backoff import Backoff
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock, Entropy

__all__ = ["OutboxLoop", "Promises"]

LOG = get_logger(__name__)
TICK_SECONDS = 5.0
SETTLE_SECONDS = 0.1  # many rows go for what one would cost; who looks meanwhile says them again
FRESH_MAX = 4096
BACKOFF_MAX_SECONDS = 5.0


class Promises:
    """What this replica has committed to say and not said yet. Bounded: what does not fit is found
    in the outbox.
    """

    def __init__(self) -> None:
        self._fresh: deque[Promise] = deque(maxlen=FRESH_MAX)
        self.nudge = Nudge()

    def add(self, promise: Promise) -> None:
        """Has it said soon."""
        self._fresh.append(promise)
        self.nudge.set()

    def take(self) -> list[Promise]:
        """All of them, oldest first."""
        fresh = list(self._fresh)
        self._fresh.clear()
        return fresh


class OutboxLoop:
    """Publishes the outbox. `raw` writes claims as older gateways expect them, for the first half
    of an upgrade.
    """

    def __init__(
        self,
        outbox: Outbox,
        bus: Bus,
        promises: Promises,
        clock: Clock,
        entropy: Entropy,
        *,
        raw: bool = False,
    ) -> None:
        self._outbox = outbox
        self._bus = bus
        self._promises = promises
        self._clock = clock
        self._backoff = Backoff(0.1, BACKOFF_MAX_SECONDS, entropy)
        self._raw = raw
        self._said: list[int] = []  # rows that were published, and are still there
        self._generation = 0
        self._settle_at = 0.0

    async def run(self) -> None:
        """Publishes, forever."""
        look_at = self._clock.monotonic()  # at once: an earlier run may have left something
        while True:
            try:
                await self.say_fresh()
                if self._said and self._clock.monotonic() >= min(self._settle_at, look_at):
                    await self.settle()  # before a look, which would find them
                if self._clock.monotonic() >= look_at:
                    while await self.run_once() == BATCH_MAX:
                        pass
                    look_at = self._clock.monotonic() + TICK_SECONDS
                self._backoff.reset()
            except (BusError, Unavailable) as error:
                LOG.warning("the outbox waits", error=error)
                self._said.clear()
                await self._clock.sleep(self._backoff.next())
                look_at = self._clock.monotonic()
                continue
            due_at = min(look_at, self._settle_at) if self._said else look_at
            await self._promises.nudge.wait(max(0.0, due_at - self._clock.monotonic()))

    async def say_fresh(self) -> int:
        """Publishes what was just promised; how much. It stays in the outbox until `settle`."""
        fresh = self._promises.take()
        if fresh and not self._said:
            self._generation = self._bus.generation
            self._settle_at = self._clock.monotonic() + SETTLE_SECONDS
        for promise in fresh:
            self._said.append(promise.id)
            await self._publish(promise.subject, promise.payload)
        return len(fresh)

    async def settle(self) -> None:
        """Removes what was published since the last time, and the bus has for certain. Raises
        BusError if it may have lost some of it: then all of that is found by looking.
        """
        said, self._said = self._said, []
        await self._flush(self._generation)
        await self._outbox.forget(said)

    async def run_once(self) -> int:
        """Publishes a batch of the outbox; how many. Raises BusError, and then all of it is still
        to be said.
        """
        return await self._outbox.drain(self._say)

    async def _say(self, events: Sequence[tuple[str, bytes]]) -> None:
        generation = self._bus.generation
        for subject, payload in events:
            await self._publish(subject, payload)
        await self._flush(generation)

    async def _flush(self, generation: int) -> None:
        await self._bus.flush()
        if self._bus.generation != generation:
            raise BusUnavailable("messages may have been lost meanwhile")

    async def _publish(self, subject: str, payload: bytes) -> None:
        if self._raw:
            try:
                payload = encode_event(decode_claim(subject, payload), raw=True)
            except EventInvalid as error:
                LOG.warning("an event stays as it is", subject=subject, error=error)
        await self._bus.publish(subject, payload)
