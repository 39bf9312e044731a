"""Waiting for the workspace's claim.

`wait_for_reinit` holds a stream to the gateway for as long as it takes: it returns when the claim
is there, or when the gateway says definitively that none will come. Everything else (a dead
connection, a gateway that drains, restarts or is busy, a token that is not known yet, a claim whose
build failed) is waited out with backoff and full jitter. It is cancellable at any moment and owns
nothing afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentsdk.backoff import Backoffs
from agentsdk.core import (
    AskAgain,
    Decision,
    Deliver,
    Frame,
    Heard,
    Heartbeat,
    OpenAnother,
    Pace,
    ReadOn,
    ReinitEvent,
    ReinitSettled,
    StreamEnded,
    StreamSilent,
    decide,
)
from agentsdk.errors import CallFailed
from agentsdk.gateway import Gateway
from agentsdk.reports import AgentCallbacks
from agentsdk.surroundings import Surroundings

__all__ = ["ReinitEvent", "ReinitSettled", "ReinitWaiter", "wait_for_reinit"]


async def wait_for_reinit(
    gateway: Gateway,
    *,
    last_applied_claim_id: str = "",
    surroundings: Surroundings | None = None,
) -> ReinitEvent | ReinitSettled:
    """Waits for the claim, once. See `ReinitWaiter.wait`."""
    waiter = ReinitWaiter(gateway, surroundings or Surroundings())
    return await waiter.wait(last_applied_claim_id)


class ReinitWaiter:
    """Streams of one run of an agent, one after the other."""

    def __init__(
        self,
        gateway: Gateway,
        surroundings: Surroundings,
        callbacks: AgentCallbacks | None = None,
    ) -> None:
        self._gateway = gateway
        self._callbacks = callbacks or AgentCallbacks()
        self._session_id = surroundings.session_id
        self._clock = surroundings.clock
        self._log = surroundings.log
        self._limits = surroundings.limits
        self._backoffs = Backoffs(surroundings.limits, surroundings.entropy)
        self._was_accepted = False
        self._complained_at = -self._limits.complain_seconds
        self.streamless = asyncio.Event()
        """Set while the gateway knows this agent but holds no stream of it: then signs of life
        must reach it another way."""

    async def wait(self, last_applied_claim_id: str) -> ReinitEvent | ReinitSettled:
        """The event, or why none will come. Never raises but when cancelled."""
        while True:
            decision, heard, is_proven = await self._read_stream(last_applied_claim_id)
            self._callbacks.stream_ended(heard)
            match decision:
                case Deliver():
                    return decision.event
                case ReinitSettled():
                    self.streamless.set()
                    return decision
                case OpenAnother():
                    await self._gateway.move()
                    # A stream that was told to leave before it proved to live counts as a failure:
                    # a gateway that always says so must not be asked without a pause.
                    wait_seconds = 0.0 if is_proven else self._backoffs.next(Pace.FAST)
                    wait_seconds = max(decision.after_seconds, wait_seconds)
                case AskAgain():
                    self._complain(heard)
                    asked = min(decision.not_before_seconds, self._limits.retry_after_seconds_max)
                    wait_seconds = asked + self._backoffs.next(decision.pace)
                    if decision.alive:
                        self.streamless.set()
            await self._clock.sleep(wait_seconds)

    async def pause(self, pace: Pace) -> None:
        """Waits before the next `wait`, when an event could not be applied."""
        self.streamless.set()
        await self._clock.sleep(self._backoffs.next(pace))

    async def _read_stream(
        self, last_applied_claim_id: str
    ) -> tuple[Deliver | ReinitSettled | OpenAnother | AskAgain, Heard, bool]:
        """Reads one stream to its end: what to do now, what was heard last, and whether the stream
        had proved to live.
        """
        silence_seconds = self._limits.first_frame_seconds
        is_proven = is_begun = False
        async with self._gateway.open_reinit_stream(
            last_applied_claim_id, self._session_id
        ) as frames:
            while True:
                heard = await _hear(frames, silence_seconds)
                if isinstance(heard, Frame):
                    self._was_accepted = True
                    if not is_begun:
                        is_begun = True
                        self._callbacks.stream_began()
                    self.streamless.clear()
                if isinstance(heard, Heartbeat) and heard.interval_seconds > 0:
                    is_proven = True
                    self._backoffs.reset()
                    interval = min(heard.interval_seconds, self._limits.heartbeat_seconds_max)
                    silence_seconds = 2 * interval
                decision: Decision = decide(heard, was_accepted=self._was_accepted)
                if not isinstance(decision, ReadOn):
                    return decision, heard, is_proven

    def _complain(self, heard: Heard) -> None:
        if self._clock.monotonic() - self._complained_at < self._limits.complain_seconds:
            return
        self._complained_at = self._clock.monotonic()
        self._log.warning("The reinit stream ended; asking again.", heard=repr(heard))


async def _hear(frames: AsyncIterator[Frame], silence_seconds: float) -> Heard:
    """The next frame, or how the stream ended. Running out of time ends the call itself."""
    try:
        async with asyncio.timeout(silence_seconds):
            return await anext(frames)
    except StopAsyncIteration:
        return StreamEnded(code="OK")
    except TimeoutError:
        return StreamSilent()
    except CallFailed as failure:
        return StreamEnded(
            code=failure.code,
            reason=failure.reason,
            retry_after_seconds=failure.retry_after_seconds,
        )
