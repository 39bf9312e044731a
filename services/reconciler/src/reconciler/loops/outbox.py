"""Says on the bus what committed transactions promised to say. At least once: what the bus has not
got for certain is said again.
"""

from __future__ import annotations

from collections.abc import Sequence

from bus.api import Bus
from bus.errors import BusError, BusUnavailable, EventInvalid
from bus.events import decode_claim, encode_event
from reconciler.store.outbox import Outbox
from svckit.backoff import Backoff
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock, Entropy

__all__ = ["OutboxLoop"]

LOG = get_logger(__name__)
TICK_SECONDS = 5.0
BACKOFF_MAX_SECONDS = 5.0


class OutboxLoop:
    """Publishes the outbox. `raw` writes claims as older gateways expect them, for the first half
    of an upgrade.
    """

    def __init__(
        self,
        outbox: Outbox,
        bus: Bus,
        nudge: Nudge,
        clock: Clock,
        entropy: Entropy,
        *,
        raw: bool = False,
    ) -> None:
        self._outbox = outbox
        self._bus = bus
        self._nudge = nudge
        self._clock = clock
        self._backoff = Backoff(0.1, BACKOFF_MAX_SECONDS, entropy)
        self._raw = raw

    async def run(self) -> None:
        """Publishes, forever."""
        while True:
            try:
                while await self.run_once():
                    pass
                self._backoff.reset()
            except (BusError, Unavailable) as error:
                LOG.warning("the outbox waits", error=error)
                await self._clock.sleep(self._backoff.next())
                continue
            await self._nudge.wait(TICK_SECONDS)

    async def run_once(self) -> int:
        """Publishes a batch; how many. Raises BusError, and then all of it is still to be said."""
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
