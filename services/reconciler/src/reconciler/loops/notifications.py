"""Plans who is told what, and sends it.

Promises: one replica plans, each may send; every sink has a loop of its own, with its own time
limit and its own few sends at once, so that a slow or a dead one delays no other, and nothing else;
no connection to the database is held while something is sent. A sink that fails rests, longer each
time, before the next is tried on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from reconciler.core.checks import Check
from reconciler.core.notifications.fanout import Target
from reconciler.core.notifications.kinds import Channel
from reconciler.core.notifications.retries import Bury, Conclude, Drop, TryAgain, decide
from reconciler.core.notifications.sinks import (
    Accepted,
    Outcome,
    Refused,
    Sink,
    Unaddressed,
    Unreached,
)
from reconciler.loops.leadership import NOTIFICATION_LOCK
from reconciler.store.db import Database
from reconciler.store.notifications import DeliveryCount, Leased, NotificationQueue
from svckit.backoff import Backoff
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock, Entropy

__all__ = ["NotificationMetrics", "PlanLoop", "SendLoop", "SendSettings"]

LOG = get_logger(__name__)
SENDS_MAX: Final = 4
"""At once to one sink, on one replica."""
LEASE_TIMEOUTS: Final = 3
"""How many time limits long a lease is: one to send, the rest to note what came of it."""
REST_SECONDS_MAX: Final = 60.0
LOOK_SECONDS: Final = 60.0
"""Between two looks for jobs that nobody takes, and two counts."""
PROVISIONER_SEEN = timedelta(seconds=60)
STRAY_AFTER = timedelta(hours=1)
"""Long enough for every replica to have been given the same sinks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings:
    """How sending is tried. Durations are seconds."""

    tick_seconds: float = 5.0
    timeout_seconds: float = 20.0
    attempts_max: int = 60  # with the other defaults: over a day at least, two at most
    first_delay_seconds: float = 10.0


class NotificationMetrics:
    """What was sent by this replica, and what waits or is dead, as the planning replica saw it."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._counts: tuple[DeliveryCount, ...] = ()
        self._sent = meter.create_counter(
            "warmpool_notifications_sent",
            description="Attempts to send a notification, by channel and outcome.",
        )
        for channel in set(Channel) - {Channel.INBOX}:
            for outcome in ("sent", "failed", "dead"):
                self.attempted(channel.value, outcome, 0)  # else no increase shows the first one
        meter.create_observable_gauge(
            "warmpool_notifications_pending",
            callbacks=[lambda options: self._observe("pending", options)],
            description="Notifications that are to be sent.",
        )
        meter.create_observable_gauge(
            "warmpool_notifications_dead",
            callbacks=[lambda options: self._observe("dead", options)],
            description="Notifications that could not be sent.",
        )

    def attempted(self, channel: str, outcome: str, count: int = 1) -> None:
        """An attempt has ended: "sent", "failed" (it will be tried again) or "dead"; also what is
        dead without one.
        """
        self._sent.add(count, {"channel": channel, "outcome": outcome})

    def counted(self, counts: tuple[DeliveryCount, ...]) -> None:
        """What the planning replica found; nothing on the others."""
        self._counts = counts

    def _observe(self, status: str, _options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(each.count, {"channel": each.channel})
            for each in self._counts
            if each.status == status
        ]


class PlanLoop:
    """Plans deliveries, ends those of sinks that are gone, and looks for jobs that nobody takes:
    with `missing_seconds` 0 it does not.
    """

    def __init__(
        self,
        database: Database,
        queue: NotificationQueue,
        targets: Sequence[Target],
        nudges: Sequence[Nudge],
        instruments: NotificationMetrics,
        clock: Clock,
        entropy: Entropy,
        new_id: Callable[[], UUID],
        *,
        tick_seconds: float,
        missing_seconds: float,
    ) -> None:
        self._database = database
        self._queue = queue
        self._targets = tuple(targets)
        self._nudges = tuple(nudges)
        self._instruments = instruments
        self._clock = clock
        self._entropy = entropy
        self._new_id = new_id
        self._tick_seconds = tick_seconds
        self._missing_seconds = missing_seconds
        self._looked_at: float | None = None

    async def run(self) -> None:
        """Plans, forever."""
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                LOG.warning("notifications could not be planned", error=error)
            await self._clock.sleep(self._tick_seconds * (0.5 + self._entropy.random()))

    async def run_once(self) -> int:
        """Plans what there is; returns how many events. None on a replica that does not lead."""
        events = 0
        async with self._database.try_lock(NOTIFICATION_LOCK) as is_leader:
            if not is_leader:
                self._instruments.counted(())
                return 0
            await self._look()
            while count := await self._queue.fan_out(
                self._targets, self._new_id, self._clock.now()
            ):
                events += count
        if events:
            LOG.info("notifications were planned", count=events)
            for nudge in self._nudges:
                nudge.set()
        return events

    async def _look(self) -> None:
        began = self._clock.monotonic()
        if self._looked_at is not None and began - self._looked_at < min(
            LOOK_SECONDS, 12 * self._tick_seconds
        ):
            return
        self._looked_at = began
        if self._missing_seconds:
            waited, now = timedelta(seconds=self._missing_seconds), self._clock.now()
            if sorts := await self._queue.look_for_untaken_jobs(waited, PROVISIONER_SEEN, now):
                LOG.warning("no provisioner takes some jobs", count=sorts)
        if strays := await self._queue.bury_strays(self._targets, STRAY_AFTER, self._clock.now()):
            for channel in strays:
                self._instruments.attempted(channel, "dead")
            LOG.error("notifications are for sinks that are set up no more", count=len(strays))
        self._instruments.counted(await self._queue.count())


class SendLoop:
    """Sends what is due for one sink."""

    def __init__(
        self,
        queue: NotificationQueue,
        sink: Sink,
        instruments: NotificationMetrics,
        clock: Clock,
        entropy: Entropy,
        settings: SendSettings,
    ) -> None:
        self._queue = queue
        self._sink = sink
        self._instruments = instruments
        self._clock = clock
        self._entropy = entropy
        self._settings = settings
        self._rest = Backoff(1.0, REST_SECONDS_MAX, entropy)
        self._failures = 0
        self._last_error = ""
        self.nudge = Nudge()

    @property
    def target(self) -> Target:
        """Of the sink."""
        return self._sink.target

    async def check(self) -> Check:
        """Whether the sink takes what it is given."""
        target = self._sink.target
        name = f"notifications {target.channel.value}{target.name and f' {target.name}'}"
        if not self._failures:
            return Check(name=name, is_ok=True, message="set up; no send has failed since")
        message = f"{self._failures} sends in a row failed, the last one: {self._last_error}"
        fix = "mend the receiver or its settings; what waits is sent by itself once it answers"
        return Check(name=name, is_ok=True, is_warning=True, message=message, fix=fix)

    async def run(self) -> None:
        """Sends, forever."""
        while True:
            sent = 0
            try:
                sent = await self.run_once()
            except Unavailable as error:
                LOG.warning(
                    "notifications wait", channel=self._sink.target.channel.value, error=error
                )
            if self._failures:
                await self._clock.sleep(self._rest.next())
            elif not sent:
                self._rest.reset()
                await self.nudge.wait(self._settings.tick_seconds * (0.5 + self._entropy.random()))

    async def run_once(self) -> int:
        """Sends a few that are due; returns how many were tried."""
        target, attempts_max = self._sink.target, self._settings.attempts_max
        lapsed = await self._queue.bury_lapsed(target, attempts_max, self._clock.now())
        self._instruments.attempted(target.channel.value, "dead", lapsed)
        lease = timedelta(seconds=LEASE_TIMEOUTS * self._settings.timeout_seconds)
        leased = await self._queue.lease(
            target,
            SENDS_MAX,
            self._clock.now(),
            lease=lease,
            attempts_max=attempts_max,
        )
        async with asyncio.TaskGroup() as tasks:
            for each in leased:
                tasks.create_task(self._deliver(each))
        return len(leased)

    async def _deliver(self, leased: Leased) -> None:
        outcome = await self._send(leased)
        self._note(outcome)
        now = self._clock.now()
        decision = decide(
            outcome,
            attempt=leased.attempt,
            attempts_max=self._settings.attempts_max,
            first_delay_seconds=self._settings.first_delay_seconds,
            dice=self._entropy.random(),
            now=now,
        )
        try:
            if not await self._queue.settle(leased, decision, now):
                return  # a later attempt goes on
        except Unavailable as error:
            # Its lease ends, and it is sent again under the same id.
            LOG.warning("an attempt was not recorded", name=str(leased.message.id), error=error)
            return
        channel, kind = self._sink.target.channel.value, leased.message.kind
        name, attempt = str(leased.message.id), leased.attempt
        match decision:
            case Conclude():
                self._instruments.attempted(channel, "sent")
                LOG.info("a notification was sent", channel=channel, kind=kind, name=name)
            case Drop(reason=reason):
                LOG.info(
                    "a notification has nobody to go to",
                    channel=channel,
                    kind=kind,
                    name=name,
                    reason=reason,
                )
            case TryAgain(error=error):
                self._instruments.attempted(channel, "failed")
                LOG.warning(
                    "a notification was not sent",
                    channel=channel,
                    kind=kind,
                    name=name,
                    attempt=attempt,
                    reason=error,
                )
            case Bury(error=error):
                self._instruments.attempted(channel, "dead")
                LOG.error(
                    "a notification cannot be sent",
                    channel=channel,
                    kind=kind,
                    name=name,
                    attempt=attempt,
                    reason=error,
                )

    async def _send(self, leased: Leased) -> Outcome:
        seconds = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._sink.send(leased.message)
        except TimeoutError:
            return Unreached(f"no answer within {seconds:g} seconds")
        except Exception as error:
            # One message's odd content must not end the loop; what it says may hold a secret.
            return Unreached(f"the sink failed: {type(error).__name__}")

    def _note(self, outcome: Outcome) -> None:
        match outcome:
            case Accepted() | Refused():
                self._failures, self._last_error = 0, ""
            case Unaddressed():
                pass
            case Unreached(error=error, brief=brief):
                self._failures += 1
                self._last_error = brief or error
