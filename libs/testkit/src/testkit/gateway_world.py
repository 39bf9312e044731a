"""A world of agents, gateways and claims on a virtual clock, with faults by seed.

The gateways are real down to their sessions and loops; gRPC is left out. Truth is kept by a control
plane in memory that commits claims, answers late and fails. Hints are lost, delayed and repeated;
gateways crash and drain; agents vanish. The world only lets things happen and writes down when;
`testkit.gateway_checker` judges.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.metrics import NoOpMeter

from agentgw.core.admission import Admission, AdmissionLimits
from agentgw.core.frames import Reconnect
from agentgw.core.heartbeats import HeartbeatPace
from agentgw.core.liveness import LivenessBook, LivenessReport
from agentgw.core.records import Phase, ReinitRecord
from agentgw.core.session_book import Lane, SessionBook
from agentgw.core.verdicts import AgentCheck, Deliver, Verdict
from agentgw.loops.drain import drain_sessions
from agentgw.loops.heartbeats import HeartbeatLoop
from agentgw.loops.hints import HintReader
from agentgw.loops.reader import CheckReader
from agentgw.loops.recorder import Recorder
from agentgw.loops.sweeper import Sweeper
from agentgw.store.metrics import GatewayMetrics
from agentgw.store.records import PendingRecords
from agentgw.store.sessions import Sessions
from agentgw.store.truth import Truth
from bus.events import PrebuildClaimed, encode_event
from bus.memory import MemoryBus
from bus.subjects import claims_subject
from svckit.errors import FailedPrecondition, ServiceError, Unauthenticated, Unavailable
from svckit.system import Clock
from testkit.clock import LoopClock

__all__ = ["AgentStory", "Faults", "GatewayWorld", "WorldPlan"]

LIMITS: Final = AdmissionLimits(
    sessions_max=1000, opens_per_second=1000, opens_burst=1000, retry_seconds=0.2
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How likely what goes wrong is, while the turmoil lasts."""

    lost_hint: float = 0.0
    repeated_hint: float = 0.0
    hint_delay_seconds: float = 0.0
    failed_call: float = 0.0
    call_delay_seconds: float = 0.02
    lost_acknowledgement: float = 0.0
    gateway_crashes: int = 0
    gateway_drains: int = 0
    vanishing_agents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldPlan:
    """How large, and for how long, in virtual seconds."""

    agents: int = 6
    regular_agents: int = 1
    gateways: int = 2
    turmoil_seconds: float = 60.0
    calm_seconds: float = 60.0
    sweep_seconds: float = 25.0
    faults: Faults = Faults()
    make_book: Callable[[], SessionBook] = SessionBook


@dataclass(slots=True)
class AgentStory:
    """What befell one agent; times in virtual seconds."""

    token: bytes
    workspace_id: str
    is_regular: bool
    began_at: float = 0.0
    owner_id: str = ""
    claim_id: str = ""
    deliverable_at: float | None = None
    heard: list[tuple[float, Deliver]] = field(default_factory=list[tuple[float, Deliver]])
    applied_at: list[float] = field(default_factory=list[float])
    delivered_after_acknowledgement: int = 0
    acknowledged_at: float | None = None  # durably
    refusals: list[str] = field(default_factory=list[str])
    last_applied: str = ""


class _World(Truth):
    """The control plane: truth, and the way to it."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.chance = chance
        self.clock = clock
        self.faults = Faults()
        self.agents: dict[bytes, AgentStory] = {}

    async def travel(self) -> None:
        await self.clock.sleep(self.chance.random() * self.faults.call_delay_seconds)
        if self.chance.random() < self.faults.failed_call:
            raise Unavailable("as the seed has it")

    async def check_agents(self, token_hashes: Sequence[bytes]) -> tuple[AgentCheck, ...]:
        await self.travel()
        found = tuple(self.check(token) for token in token_hashes)
        await self.travel()
        return found

    def check(self, token: bytes) -> AgentCheck:
        story = self.agents[token]
        workspace_id = story.workspace_id
        if story.is_regular:
            return AgentCheck(verdict=Verdict.NOT_A_PREBUILD, workspace_id=workspace_id)
        if story.deliverable_at is None:
            return AgentCheck(verdict=Verdict.UNCLAIMED, workspace_id=workspace_id)
        applied = story.acknowledged_at is not None
        return AgentCheck(
            verdict=Verdict.ALREADY_APPLIED if applied else Verdict.DELIVERABLE,
            workspace_id=workspace_id,
            claim_id=story.claim_id,
            owner_id="" if applied else story.owner_id,
            reason="prebuild_claimed",
        )

    async def record_reinits(self, records: Sequence[ReinitRecord]) -> tuple[bool, ...]:
        await self.travel()
        for record in records:
            story = self.agents[record.token_hash]
            if record.phase is Phase.APPLIED and record.claim_id == story.claim_id:
                story.acknowledged_at = story.acknowledged_at or self.clock.monotonic()
        if self.chance.random() < self.faults.lost_acknowledgement:
            raise Unavailable("recorded, but nobody hears of it")
        return (True,) * len(records)

    async def record_liveness(self, report: LivenessReport) -> None:
        await self.travel()


class _Gateway:
    """The parts of one gateway, and the loops that keep them going."""

    def __init__(self, world: _World, bus: MemoryBus, plan: WorldPlan) -> None:
        self.world = world
        metrics = GatewayMetrics(NoOpMeter("sim"))
        clock, entropy = world.clock, world.chance
        records = PendingRecords(metrics)
        self.sessions = Sessions(
            pace=HeartbeatPace(20.0),
            admission=Admission(LIMITS),
            liveness=LivenessBook(refresh_seconds=15.0, grace_seconds=2.0, agents_max=1000),
            records=records,
            metrics=metrics,
            clock=clock,
            entropy=entropy,
            book=plan.make_book(),
        )
        self.hints = HintReader(bus, self.sessions, metrics=metrics, clock=clock)
        readers = [
            CheckReader(lane, world, self.sessions, metrics=metrics, clock=clock, entropy=entropy)
            for lane in Lane
        ]
        sweeper = Sweeper(self.sessions, interval_seconds=plan.sweep_seconds, clock=clock)
        recorder = Recorder(world, records, self.sessions, clock=clock, entropy=entropy)
        self.loops = [
            self.hints.run,
            self.hints.run_disturbances,
            *(reader.run for reader in readers),
            HeartbeatLoop(self.sessions, clock=clock).run,
            sweeper.run,
            recorder.run,
        ]
        self.crashed = asyncio.Event()

    async def run(self) -> None:
        """Lives until it is crashed."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop()) for loop in self.loops]
            await self.crashed.wait()
            for task in tasks:
                task.cancel()

    async def drain(self) -> None:
        """Sends everybody away, then ends."""
        await drain_sessions(
            self.sessions,
            admits=False,
            window_seconds=0.5,
            timeout_seconds=5.0,
            clock=self.world.clock,
            entropy=self.world.chance,
        )
        self.crashed.set()


class GatewayWorld:
    """Runs one world. `stories` is what happened."""

    def __init__(self, seed: int, plan: WorldPlan) -> None:
        self._plan = plan
        self._chance = random.Random(seed)
        self._clock = LoopClock()
        self._world = _World(self._chance, self._clock)
        self._bus = MemoryBus()
        self._gateways: list[_Gateway] = []
        self._vanish: dict[bytes, asyncio.Event] = {}
        self.calm_since = 0.0

    @property
    def stories(self) -> tuple[AgentStory, ...]:
        """One per agent."""
        return tuple(self._world.agents.values())

    async def run(self) -> None:
        """Turmoil, then calm, then the end."""
        plan = self._plan
        self._world.faults = plan.faults
        for number in range(plan.agents + plan.regular_agents):
            token = b"%d" % number
            self._world.agents[token] = AgentStory(
                token=token,
                workspace_id=self._make_id(),
                is_regular=number >= plan.agents,
            )
            self._vanish[token] = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep_gateway(slot)) for slot in range(plan.gateways)]
            tasks += [group.create_task(self._live(story)) for story in self.stories]
            tasks += [group.create_task(self._claim(story)) for story in self.stories]
            tasks += [group.create_task(self._harm())]
            await self._clock.sleep(plan.turmoil_seconds)
            self._world.faults = Faults()
            self.calm_since = self._clock.monotonic()
            await self._clock.sleep(plan.calm_seconds)
            for task in tasks:
                task.cancel()

    async def _keep_gateway(self, slot: int) -> None:
        while True:
            gateway = _Gateway(self._world, self._bus, self._plan)
            self._gateways[slot : slot + 1] = [gateway]
            await gateway.run()
            await self._clock.sleep(0.1 + self._chance.random())

    async def _claim(self, story: AgentStory) -> None:
        """Claims the workspace at some moment, and announces it, as well as the bus allows."""
        await self._clock.sleep(self._chance.random() * self._plan.turmoil_seconds)
        if story.is_regular:
            return
        story.owner_id, story.claim_id = self._make_id(), self._make_id()
        story.deliverable_at = self._clock.monotonic()
        faults = self._world.faults
        times = 2 if self._chance.random() < faults.repeated_hint else 1
        for _ in range(times):
            await self._clock.sleep(self._chance.random() * faults.hint_delay_seconds)
            if self._chance.random() < faults.lost_hint:
                continue
            event = PrebuildClaimed(workspace_id=story.workspace_id, claim_id=story.claim_id)
            await self._bus.publish(claims_subject(story.workspace_id), encode_event(event))

    async def _harm(self) -> None:
        """Crashes, drains and disconnects, each at some moment of the turmoil."""
        faults = self._plan.faults
        kinds = (
            ["crash"] * faults.gateway_crashes
            + ["drain"] * faults.gateway_drains
            + ["vanish"] * faults.vanishing_agents
        )
        moments = sorted(
            (self._chance.random() * (self._plan.turmoil_seconds - 6), kind) for kind in kinds
        )
        for moment, kind in moments:
            await self._clock.sleep(max(0.0, moment - self._clock.monotonic()))
            gateway = self._chance.choice(self._gateways)
            if kind == "crash":
                gateway.crashed.set()
            elif kind == "drain":
                await gateway.drain()
            else:
                self._vanish[self._chance.choice(list(self._vanish))].set()

    async def _live(self, story: AgentStory) -> None:
        """One agent: asks, waits, applies, acknowledges, and stops asking when told to."""
        await self._clock.sleep(self._chance.random() * self._plan.turmoil_seconds / 2)
        story.began_at = self._clock.monotonic()
        while True:
            try:
                await self._hold_stream(story, self._chance.choice(self._gateways))
            except (FailedPrecondition, Unauthenticated) as error:
                story.refusals.append(error.reason)
                return
            except ServiceError as error:
                await self._clock.sleep(error.retry_after_seconds or 0.1)
            await self._clock.sleep(0.05 + 0.2 * self._chance.random())

    async def _hold_stream(self, story: AgentStory, gateway: _Gateway) -> None:
        if gateway.crashed.is_set():
            raise Unavailable("connection refused")
        vanish = self._vanish[story.token]
        vanish.clear()
        session = gateway.sessions.open(story.token, last_applied_claim_id=story.last_applied)
        delivered: Deliver | None = None
        try:
            async with asyncio.TaskGroup() as group:
                watchers = [
                    group.create_task(_fail_on(signal)) for signal in (gateway.crashed, vanish)
                ]
                while (frame := await session.next_frame(gateway.sessions.heartbeat)) is not None:
                    if isinstance(frame, Deliver):
                        delivered = frame
                    elif isinstance(frame, Reconnect):
                        await self._clock.sleep(frame.after_seconds)
                for watcher in watchers:
                    watcher.cancel()
        except* Unavailable as failures:
            raise Unavailable("the connection broke") from failures
        except* ServiceError as failures:
            raise failures.exceptions[0] from None
        finally:
            gateway.sessions.close(session)
        if delivered is not None:
            await self._apply(story, delivered)

    async def _apply(self, story: AgentStory, delivered: Deliver) -> None:
        now = self._clock.monotonic()
        if story.acknowledged_at is not None:
            story.delivered_after_acknowledgement += 1
        story.heard.append((now, delivered))
        if delivered.claim_id == story.last_applied:
            return  # a duplicate: keep running
        await self._clock.sleep(self._chance.random())
        story.last_applied = delivered.claim_id
        story.applied_at.append(self._clock.monotonic())
        record = ReinitRecord(
            token_hash=story.token, claim_id=delivered.claim_id, phase=Phase.APPLIED
        )
        try:
            await self._world.record_reinits([record])
        except Unavailable:
            return  # it will say so on its next stream

    def _make_id(self) -> str:
        digits = f"{self._chance.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


async def _fail_on(signal: asyncio.Event) -> None:
    await signal.wait()
    raise Unavailable("the connection broke")
