"""What the gateway, and a program around the agent, hear of the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from agentsdk.core import Heard
from agentsdk.errors import CallFailed
from agentsdk.gateway import AckPhase, Gateway, Lifecycle
from agentsdk.outbox import Outbox
from agentsdk.surroundings import Surroundings

__all__ = ["AgentCallbacks", "Reports"]


def _ignore_lifecycle(_lifecycle: Lifecycle) -> None: ...
def _ignore_claim(_claim_id: str, _phase: AckPhase) -> None: ...
def _ignore_reason(_reason: str) -> None: ...
def _ignore_failure(_failure: CallFailed) -> None: ...
def _ignore_beginning() -> None: ...
def _ignore_end(_heard: Heard) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCallbacks:
    """What a program around the agent may want to know. Called on the agent's loop; they must not
    block or raise.
    """

    lifecycle_changed: Callable[[Lifecycle], None] = _ignore_lifecycle
    claim_acknowledged: Callable[[str, AckPhase], None] = _ignore_claim
    """With the claim's id and the phase, once the gateway has recorded it."""
    asking_ended: Callable[[str], None] = _ignore_reason
    """With the reason, when the agent stops waiting for a claim for good."""
    stream_began: Callable[[], None] = _ignore_beginning
    """When a stream's first frame has come: the gateway holds this agent."""
    stream_ended: Callable[[Heard], None] = _ignore_end
    """With what was heard last, when a stream is over, whether it had begun or not."""
    call_failed: Callable[[CallFailed], None] = _ignore_failure
    """Whenever a call or a stream ended with a status other than OK, be it repeated or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LifecycleReport:
    lifecycle: Lifecycle
    changed_at: datetime
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ack:
    claim_id: str
    phase: AckPhase
    error: str


class Reports:
    """Lifecycles and acknowledgements. `run` must be running for anything to be sent."""

    def __init__(
        self, gateway: Gateway, callbacks: AgentCallbacks, surroundings: Surroundings
    ) -> None:
        self._gateway = gateway
        self._callbacks = callbacks
        self._clock = surroundings.clock
        self._log = surroundings.log
        self._acks = Outbox("claim", self._send_ack, surroundings)
        self._lifecycles = Outbox("lifecycle", self._send_lifecycle, surroundings)

    async def run(self) -> None:
        """Sends for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._acks.run())
            group.create_task(self._lifecycles.run())

    async def drain(self) -> None:
        """Waits until everything said so far is delivered or dropped; the caller bounds it."""
        await self._acks.drain()
        await self._lifecycles.drain()

    def say(self, lifecycle: Lifecycle, error: str = "") -> None:
        """The agent's lifecycle changed."""
        self._log.info("The lifecycle changed.", lifecycle=lifecycle.name, error=error)
        self._lifecycles.put(
            _LifecycleReport(lifecycle=lifecycle, changed_at=self._clock.now(), error=error)
        )
        self._callbacks.lifecycle_changed(lifecycle)

    def acknowledge(self, claim_id: str, phase: AckPhase, error: str = "") -> None:
        """The agent got this far with a claim."""
        self._log.info("Acknowledging.", claim_id=claim_id, phase=phase.name, error=error)
        self._acks.put(_Ack(claim_id=claim_id, phase=phase, error=error))

    async def _send_ack(self, ack: _Ack) -> None:
        await self._gateway.acknowledge_reinit(ack.claim_id, ack.phase, ack.error)
        self._callbacks.claim_acknowledged(ack.claim_id, ack.phase)

    async def _send_lifecycle(self, report: _LifecycleReport) -> None:
        await self._gateway.report_lifecycle(report.lifecycle, report.changed_at, report.error)
