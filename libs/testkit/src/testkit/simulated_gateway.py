"""One gateway of a simulated world: the real parts and loops, without gRPC, on a bus of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from opentelemetry.metrics import NoOpMeter

from agentgw.core.admission import Admission, AdmissionLimits
from agentgw.core.heartbeats import HeartbeatPace
from agentgw.core.liveness import LivenessBook
from agentgw.core.session_book import Lane, SessionBook
from agentgw.loops.drain import drain_sessions
from agentgw.loops.heartbeats import HeartbeatLoop
from agentgw.loops.hints import HintReader
from agentgw.loops.reader import CheckReader
from agentgw.loops.recorder import Recorder
from agentgw.loops.sweeper import Sweeper
from agentgw.store.metrics import GatewayMetrics
from agentgw.store.records import PendingRecords
from agentgw.store.session import Session
from agentgw.store.sessions import Sessions
from bus.memory import MemoryBus
from testkit.gateway_truth import ControlPlane, Link, Step

__all__ = ["SimulatedGateway"]

LIMITS: Final = AdmissionLimits(
    sessions_max=1000, opens_per_second=1000, opens_burst=1000, retry_seconds=0.2
)


class SimulatedGateway:
    """Lives from `run` until `crashed` is set or `drain` has ended."""

    def __init__(
        self,
        plane: ControlPlane,
        book: SessionBook,
        *,
        sweep_seconds: float,
        reach: Callable[[Self, Step], bool],
    ) -> None:
        self._plane = plane
        self._reach = partial(reach, self)
        self.bus = MemoryBus()
        self.is_off_the_bus = False
        self.link = Link(plane, self._reach)
        self.crashed = asyncio.Event()
        self.streams: dict[int, bytes] = {}
        """The token behind every session that its handler has not closed."""
        metrics = GatewayMetrics(NoOpMeter("sim"))
        clock, entropy = plane.clock, plane.chance
        self.records = records = PendingRecords(metrics)
        self.sessions = Sessions(
            pace=HeartbeatPace(20.0),
            admission=Admission(LIMITS),
            liveness=LivenessBook(refresh_seconds=15.0, grace_seconds=2.0, agents_max=1000),
            records=records,
            metrics=metrics,
            clock=clock,
            entropy=entropy,
            book=book,
        )
        self._hints = HintReader(self.bus, self.sessions, metrics=metrics, clock=clock)
        readers = [
            CheckReader(
                lane, self.link, self.sessions, metrics=metrics, clock=clock, entropy=entropy
            )
            for lane in Lane
        ]
        sweeper = Sweeper(self.sessions, interval_seconds=sweep_seconds, clock=clock)
        recorder = Recorder(self.link, records, self.sessions, clock=clock, entropy=entropy)
        self._loops = [
            self._hints.run,
            self._hints.run_disturbances,
            *(reader.run for reader in readers),
            HeartbeatLoop(self.sessions, clock=clock).run,
            sweeper.run,
            recorder.run,
        ]

    @property
    def is_down(self) -> bool:
        """Whether nobody can connect: it serves once its subscription is known to the bus."""
        return self.crashed.is_set() or not self._hints.subscribed.is_set()

    async def run(self) -> None:
        """Lives until it is crashed."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop()) for loop in self._loops]
            await self._hints.subscribed.wait()
            self._reach(Step.SUBSCRIBED)
            await self.crashed.wait()
            for task in tasks:
                task.cancel()

    def close(self, session: Session) -> None:
        """What a stream's handler does at its end."""
        self.streams.pop(session.key, None)
        self.sessions.close(session)

    async def drain(self) -> None:
        """Sends everybody away, then ends."""
        await drain_sessions(
            self.sessions,
            admits=False,
            window_seconds=0.5,
            timeout_seconds=5.0,
            clock=self._plane.clock,
            entropy=self._plane.chance,
        )
        self.crashed.set()
