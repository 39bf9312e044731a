"""The control plane of a simulated world: durable truth, the way to it, and what befell each agent.

Truth itself is never wrong. The way to it is: calls are slow, fail, or hang for as long as a
gateway is cut off; an acknowledgement may be recorded and its answer lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from agentgw.core.liveness import LivenessReport
from agentgw.core.records import Phase, ReinitRecord
from agentgw.core.verdicts import AgentCheck, Deliver, Verdict
from agentgw.store.truth import Truth
from svckit.errors import Unavailable
from svckit.system import Clock

__all__ = ["AgentStory", "ControlPlane", "Faults", "Link", "Step"]


class Step(Enum):
    """What a gateway has just done when it is told to crash."""

    SUBSCRIBED = auto()
    REGISTERED = auto()
    ASKED = auto()
    ANSWERED = auto()
    WRITTEN = auto()
    ACKNOWLEDGEMENT_TAKEN = auto()
    ACKNOWLEDGEMENT_RECORDED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How likely what goes wrong is, and how often it does, while the turmoil lasts."""

    lost_hint: float = 0.0
    repeated_hint: float = 0.0
    hint_delay_seconds: float = 0.0
    """Each copy of a hint takes its own time to each gateway, so that they overtake each other."""
    failed_call: float = 0.0
    call_delay_seconds: float = 0.02
    lost_acknowledgement: float = 0.0
    failed_build: float = 0.0
    crashed_agent: float = 0.0  # while it applies
    gateway_crashes: int = 0
    gateway_drains: int = 0
    vanishing_agents: int = 0
    stranded_agents: int = 0
    bus_partitions: int = 0
    plane_partitions: int = 0


@dataclass(slots=True)
class AgentStory:
    """What befell one agent; times in virtual seconds."""

    token: bytes
    workspace_id: str
    is_regular: bool
    began_at: float = 0.0
    owner_id: str = ""
    claim_id: str = ""
    claimed_at: float | None = None
    is_build_failed: bool = False
    deliverable_at: float | None = None
    asked_at: float = 0.0
    """When the stream began on which it heard, or does not hear, of its claim first."""
    heard: list[tuple[float, Deliver]] = field(default_factory=list[tuple[float, Deliver]])
    applied_at: list[float] = field(default_factory=list[float])
    delivered_after_acknowledgement: int = 0
    acknowledged_at: float | None = None  # durably
    refusals: list[str] = field(default_factory=list[str])
    last_applied: str = ""
    doubled_streams: int = 0
    """How often one gateway kept two live streams of it."""


class ControlPlane:
    """Truth."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.chance = chance
        self.clock = clock
        self.faults = Faults()
        self.agents: dict[bytes, AgentStory] = {}

    def check(self, token: bytes) -> AgentCheck:
        """What is true of an agent at this moment."""
        story = self.agents[token]
        verdict = _verdict_of(story)
        is_deliverable = verdict is Verdict.DELIVERABLE
        return AgentCheck(
            verdict=verdict,
            workspace_id=story.workspace_id,
            claim_id=story.claim_id,
            owner_id=story.owner_id if is_deliverable else "",
            reason="prebuild_claimed" if story.claim_id else "",
        )

    def record(self, record: ReinitRecord) -> None:
        """Makes a step durable."""
        story = self.agents[record.token_hash]
        if record.phase is Phase.APPLIED and record.claim_id == story.claim_id:
            story.acknowledged_at = story.acknowledged_at or self.clock.monotonic()


def _verdict_of(story: AgentStory) -> Verdict:
    if story.is_regular:
        return Verdict.NOT_A_PREBUILD
    if story.acknowledged_at is not None:
        return Verdict.ALREADY_APPLIED
    if story.deliverable_at is not None:
        return Verdict.DELIVERABLE
    if story.is_build_failed:
        return Verdict.CLAIM_BUILD_FAILED
    return Verdict.UNCLAIMED if story.claimed_at is None else Verdict.CLAIM_PENDING


class Link(Truth):
    """One gateway's way to the control plane. `reach` is told of every step; it may end the
    gateway, and then no answer arrives.
    """

    def __init__(self, plane: ControlPlane, reach: Callable[[Step], bool]) -> None:
        self._plane = plane
        self._reach = reach
        self.reachable = asyncio.Event()
        self.reachable.set()

    async def check_agents(self, token_hashes: Sequence[bytes]) -> tuple[AgentCheck, ...]:
        await self._travel()
        await self._go_on(Step.ASKED)
        found = tuple(self._plane.check(token) for token in token_hashes)
        await self._go_on(Step.ANSWERED)
        await self._travel()
        return found

    async def record_reinits(self, records: Sequence[ReinitRecord]) -> tuple[bool, ...]:
        await self._travel()
        for record in records:
            self._plane.record(record)
        if any(record.phase is Phase.APPLIED for record in records):
            await self._go_on(Step.ACKNOWLEDGEMENT_RECORDED)
        if self._plane.chance.random() < self._plane.faults.lost_acknowledgement:
            raise Unavailable("recorded, but nobody hears of it")
        return (True,) * len(records)

    async def record_liveness(self, report: LivenessReport) -> None:
        await self._travel()

    async def _travel(self) -> None:
        plane = self._plane
        await plane.clock.sleep(plane.chance.random() * plane.faults.call_delay_seconds)
        await self.reachable.wait()
        if plane.chance.random() < plane.faults.failed_call:
            raise Unavailable("as the seed has it")

    async def _go_on(self, step: Step) -> None:
        if not self._reach(step):
            await asyncio.Event().wait()  # whoever asked is being ended
