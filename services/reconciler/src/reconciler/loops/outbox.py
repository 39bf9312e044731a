"""Says on the bus what committed transactions promised to say. At least once: what the bus has not
got for certain is said again.

What this replica has just committed is said from memory, and its rows go afterwards. Whatever else
is in the outbox (of a replica that died, of a bus that was away) is found by looking, slowly.
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

    async def run(self) -> None:
        """Publishes, forever."""
        look_at = self._clock.monotonic()  # at once: an earlier run may have left something
        while True:
            try:
                await self.say_fresh()
                if self._clock.monotonic() >= look_at:
                    while await self.run_once() == BATCH_MAX:
                        pass
                    look_at = self._clock.monotonic() + TICK_SECONDS
                self._backoff.reset()
            except (BusError, Unavailable) as error:
                LOG.warning("the outbox waits", error=error)
                await self._clock.sleep(self._backoff.next())
                look_at = self._clock.monotonic()
                continue
            await self._promises.nudge.wait(max(0.0, look_at - self._clock.monotonic()))

    async def say_fresh(self) -> int:
        """Publishes what was just promised; how much. Raises BusError, and then it stays in the
        outbox.
        """
        fresh = self._promises.take()
        if fresh:
            await self._say([(promise.subject, promise.payload) for promise in fresh])
            await self._outbox.forget([promise.id for promise in fresh])
        return len(fresh)

    async def run_once(self) -> int:
        """Publishes a batch of the outbox; how many. Raises BusError, and then all of it is still
        to be said.
        """
        return await self._outbox.drain(self._say)

    async def _say(self, events: Sequence[tuple[str, bytes]]) -> None:
        generation = self._bus.generation
        for subject, payload in events:
            await self._publish(subject, payload)
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
