"""A world of agents, gateways and claims on a virtual clock, with faults by seed.

The gateways are real down to their sessions and loops; gRPC is left out. Hints are lost, repeated,
delayed and overtake each other; gateways crash, at any moment or at a given step, and drain; they
are cut off from the bus or from the control plane; agents crash, vanish, or are stranded on a
connection that neither side knows to be dead. The world only lets things happen and writes down
when; `testkit.gateway_checker` judges.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

from agentgw.core.frames import Reconnect
from agentgw.core.records import Phase, ReinitRecord
from agentgw.core.session_book import SessionBook
from agentgw.core.verdicts import Deliver
from agentgw.store.session import Session
from bus.events import PrebuildClaimed, encode_event
from bus.subjects import claims_subject
from svckit.errors import FailedPrecondition, ServiceError, Unauthenticated, Unavailable
from testkit.clock import LoopClock
from testkit.gateway_truth import AgentStory, ControlPlane, Faults, Step
from testkit.simulated_gateway import SimulatedGateway

__all__ = ["AgentStory", "Faults", "GatewayWorld", "Step", "WorldPlan"]

PARTITION_SECONDS: Final = 12.0  # longer than a gateway waits for an answer
UNNOTICED_SECONDS: Final = 8.0  # how long a dead connection may go unnoticed, on either side
BUILD_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldPlan:
    """How large, and for how long, in virtual seconds. `crash_at` ends a gateway whenever it has
    done that step, the first `crashes_at_step` times.
    """

    agents: int = 6
    regular_agents: int = 1
    gateways: int = 2
    turmoil_seconds: float = 60.0
    calm_seconds: float = 60.0
    sweep_seconds: float = 25.0
    faults: Faults = field(default_factory=Faults)
    crash_at: Step | None = None
    crashes_at_step: int = 5
    make_book: Callable[[], SessionBook] = SessionBook


class GatewayWorld:
    """Runs one world. `stories` is what happened."""

    def __init__(self, seed: int, plan: WorldPlan) -> None:
        self._plan = plan
        self._chance = random.Random(seed)
        self._clock = LoopClock()
        self._plane = ControlPlane(self._chance, self._clock)
        self._gateways: list[SimulatedGateway] = []
        self._vanish: dict[bytes, asyncio.Event] = {}
        self._strand: dict[bytes, asyncio.Event] = {}
        self._group = asyncio.TaskGroup()
        self._crashes_left = plan.crashes_at_step
        self.calm_since = 0.0

    @property
    def stories(self) -> tuple[AgentStory, ...]:
        """One per agent."""
        return tuple(self._plane.agents.values())

    async def run(self) -> None:
        """Turmoil, then calm, then the end."""
        plan = self._plan
        self._plane.faults = plan.faults
        for number in range(plan.agents + plan.regular_agents):
            token = b"%d" % number
            self._plane.agents[token] = AgentStory(
                token=token,
                workspace_id=self._make_id(),
                is_regular=number >= plan.agents,
            )
            self._vanish[token], self._strand[token] = asyncio.Event(), asyncio.Event()
        async with self._group as group:
            tasks = [group.create_task(self._keep_gateway(slot)) for slot in range(plan.gateways)]
            tasks += [group.create_task(self._live(story)) for story in self.stories]
            tasks += [group.create_task(self._claim(story)) for story in self.stories]
            tasks += [group.create_task(self._harm())]
            await self._clock.sleep(plan.turmoil_seconds)
            self._plane.faults = Faults()
            self.calm_since = self._clock.monotonic()
            await self._clock.sleep(plan.calm_seconds)
            for task in tasks:
                task.cancel()

    # --- Gateways ------------------------------------------------------------------------------

    async def _keep_gateway(self, slot: int) -> None:
        while True:
            gateway = SimulatedGateway(
                self._plane,
                self._plan.make_book(),
                sweep_seconds=self._plan.sweep_seconds,
                reach=self._reach,
            )
            self._gateways[slot : slot + 1] = [gateway]
            await gateway.run()
            await self._clock.sleep(0.1 + self._chance.random())

    def _reach(self, gateway: SimulatedGateway, step: Step) -> bool:
        """False if the gateway is at its end."""
        if self._plan.crash_at is step and self._crashes_left > 0 and not gateway.is_down:
            self._crashes_left -= 1
            gateway.crashed.set()
        return not gateway.crashed.is_set()

    # --- Claims --------------------------------------------------------------------------------

    async def _claim(self, story: AgentStory) -> None:
        """Claims the workspace at some moment, builds, and announces it, as well as the bus may."""
        await self._clock.sleep(self._chance.random() * self._plan.turmoil_seconds)
        if story.is_regular:
            return
        story.owner_id, story.claim_id = self._make_id(), self._make_id()
        story.claimed_at = self._clock.monotonic()
        faults = self._plane.faults
        if self._chance.random() < faults.failed_build:
            await self._clock.sleep(self._chance.random() * BUILD_SECONDS)
            story.is_build_failed = True
            self._announce(story, faults)
        await self._clock.sleep(
            self._chance.random() * min(BUILD_SECONDS, faults.hint_delay_seconds)
        )
        story.deliverable_at = self._clock.monotonic()
        self._announce(story, faults)

    def _announce(self, story: AgentStory, faults: Faults) -> None:
        times = 2 if self._chance.random() < faults.repeated_hint else 1
        for slot in range(len(self._gateways)):
            for _ in range(times):
                self._group.create_task(self._carry(slot, story, faults))

    async def _carry(self, slot: int, story: AgentStory, faults: Faults) -> None:
        await self._clock.sleep(self._chance.random() * faults.hint_delay_seconds)
        gateway = self._gateways[slot]  # whoever listens there by now
        if self._chance.random() < faults.lost_hint or gateway.is_off_the_bus:
            return
        event = PrebuildClaimed(workspace_id=story.workspace_id, claim_id=story.claim_id)
        await gateway.bus.publish(claims_subject(story.workspace_id), encode_event(event))

    # --- Harm ----------------------------------------------------------------------------------

    async def _harm(self) -> None:
        """What goes wrong, each at some moment of the turmoil."""
        faults, token_of = self._plan.faults, self._pick_agent
        harms: list[tuple[int, Callable[[SimulatedGateway], None]]] = [
            (faults.gateway_crashes, lambda gateway: gateway.crashed.set()),
            (faults.gateway_drains, lambda gateway: self._start(gateway.drain())),
            (faults.vanishing_agents, lambda _: self._vanish[token_of()].set()),
            (faults.stranded_agents, lambda _: self._strand[token_of()].set()),
            (faults.bus_partitions, lambda gateway: self._start(self._cut_off_bus(gateway))),
            (faults.plane_partitions, lambda gateway: self._start(self._cut_off_plane(gateway))),
        ]
        moments = sorted(
            (self._chance.random() * (self._plan.turmoil_seconds - PARTITION_SECONDS), kind)
            for kind, (count, _) in enumerate(harms)
            for _ in range(count)
        )
        for moment, kind in moments:
            await self._clock.sleep(max(0.0, moment - self._clock.monotonic()))
            harms[kind][1](self._chance.choice(self._gateways))

    async def _cut_off_bus(self, gateway: SimulatedGateway) -> None:
        gateway.is_off_the_bus = True
        await self._clock.sleep(PARTITION_SECONDS * self._chance.random())
        gateway.is_off_the_bus = False
        gateway.bus.disturb()

    async def _cut_off_plane(self, gateway: SimulatedGateway) -> None:
        gateway.link.reachable.clear()
        await self._clock.sleep(PARTITION_SECONDS * self._chance.random())
        gateway.link.reachable.set()

    # --- Agents --------------------------------------------------------------------------------

    async def _live(self, story: AgentStory) -> None:
        """One agent: asks, waits, applies, acknowledges, and stops asking when told to."""
        await self._clock.sleep(self._chance.random() * self._plan.turmoil_seconds / 2)
        story.began_at = self._clock.monotonic()
        while True:
            try:
                await self._hold_stream(story, self._chance.choice(self._gateways))
            except (FailedPrecondition, Unauthenticated) as error:
                story.refusals.append(error.reason)
                if error.reason != "CLAIM_BUILD_FAILED":
                    return
                await self._clock.sleep(2.0 * self._chance.random())
            except ServiceError as error:
                await self._clock.sleep(error.retry_after_seconds or 0.1)
            await self._clock.sleep(0.05 + 0.2 * self._chance.random())

    async def _hold_stream(self, story: AgentStory, gateway: SimulatedGateway) -> None:
        if gateway.is_down:
            raise Unavailable("connection refused")
        for signals in (self._vanish, self._strand):
            signals[story.token].clear()
        session = gateway.sessions.open(story.token, last_applied_claim_id=story.last_applied)
        if not story.heard:
            story.asked_at = self._clock.monotonic()
        self._start(self._watch_for_doubles(story, gateway, session))
        is_stranded = False
        delivered: Deliver | None = None
        try:
            if not self._reach(gateway, Step.REGISTERED):
                raise Unavailable("the connection broke")
            async with asyncio.TaskGroup() as group:
                watchers = [
                    group.create_task(_fail_on(signal))
                    for signal in (
                        gateway.crashed,
                        self._vanish[story.token],
                        self._strand[story.token],
                    )
                ]
                while (frame := await session.next_frame(gateway.sessions.heartbeat)) is not None:
                    if isinstance(frame, Deliver):
                        if not self._reach(gateway, Step.WRITTEN):
                            raise Unavailable("lost on its way")
                        delivered = frame
                    elif isinstance(frame, Reconnect):
                        await self._clock.sleep(frame.after_seconds)
                for watcher in watchers:
                    watcher.cancel()
        except* ServiceError as failures:  # one clause: a stream may break as it is refused
            if failures.subgroup(Unavailable) is None:
                raise failures.exceptions[0] from None
            is_stranded = self._strand[story.token].is_set() and delivered is None
            if is_stranded:
                self._start(self._write_to_nobody(gateway, session))
                await self._clock.sleep(UNNOTICED_SECONDS * self._chance.random())
            raise Unavailable("the connection broke") from failures
        finally:
            if not is_stranded:
                gateway.close(session)
        if delivered is not None:
            await self._apply(story, delivered)

    async def _write_to_nobody(self, gateway: SimulatedGateway, session: Session) -> None:
        """The gateway's end of a stranded stream: what it writes counts as written, and is lost."""
        try:
            async with asyncio.timeout(UNNOTICED_SECONDS * self._chance.random()):
                while await session.next_frame(gateway.sessions.heartbeat) is not None:
                    pass
        except (TimeoutError, ServiceError):
            pass
        finally:
            gateway.close(session)

    async def _watch_for_doubles(
        self, story: AgentStory, gateway: SimulatedGateway, session: Session
    ) -> None:
        gateway.streams[session.key] = story.token
        await self._clock.sleep(0.01)  # by then a session that was taken over from has ended
        tokens = list(gateway.streams.values())
        if not gateway.is_down and tokens.count(story.token) > 1:
            story.doubled_streams += 1

    async def _apply(self, story: AgentStory, delivered: Deliver) -> None:
        if story.acknowledged_at is not None:
            story.delivered_after_acknowledgement += 1
        story.heard.append((self._clock.monotonic(), delivered))
        if delivered.claim_id == story.last_applied:
            return  # a duplicate: keep running
        await self._clock.sleep(self._chance.random())
        if self._chance.random() < self._plane.faults.crashed_agent:
            return  # and starts again, with nothing done
        story.last_applied = delivered.claim_id
        story.applied_at.append(self._clock.monotonic())
        gateway = self._chance.choice(self._gateways)
        record = ReinitRecord(
            token_hash=story.token,
            claim_id=delivered.claim_id,
            phase=Phase.APPLIED,
            at_seconds=self._clock.monotonic(),
        )
        try:
            if gateway.is_down or not self._reach(gateway, Step.ACKNOWLEDGEMENT_TAKEN):
                return  # it will say so on its next stream
            async with asyncio.timeout(UNNOTICED_SECONDS):
                await gateway.records.record(record)
        except (Unavailable, TimeoutError):
            return  # the same

    def _pick_agent(self) -> bytes:
        return self._chance.choice(list(self._vanish))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._group.create_task(work)

    def _make_id(self) -> str:
        digits = f"{self._chance.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


async def _fail_on(signal: asyncio.Event) -> None:
    await signal.wait()
    raise Unavailable("the connection broke")
