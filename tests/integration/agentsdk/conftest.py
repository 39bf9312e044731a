"""An agent and the gateway it talks to."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentsdk import (
    AckPhase,
    Agent,
    AgentCallbacks,
    AgentLimits,
    AgentSettings,
    Lifecycle,
    Surroundings,
    Token,
)
from agentsdk.log import AgentLog
from agentsdk.system import SystemClock
from testkit.fake_agent_gateway import FakeAgentGateway, fake_agent_gateway

PATIENCE_SECONDS = 20.0

# Waits of an agent in production, made short.
QUICK = AgentLimits(
    fast_initial_seconds=0.001,
    fast_maximum_seconds=0.01,
    slow_initial_seconds=0.002,
    slow_maximum_seconds=0.02,
    log_delay_seconds=0.0,
    output_seconds=2.0,
)


class RecordingClock(SystemClock):
    """The real clock, which remembers how long it was asked to sleep."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await super().sleep(seconds)


@dataclass(kw_only=True)
class RunningAgent:
    """An agent in this process."""

    directory: Path
    clock: RecordingClock
    log: io.StringIO
    agent: Agent | None = None
    asking_ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue[str])
    lifecycles: list[Lifecycle] = field(default_factory=list[Lifecycle])
    acknowledged: list[tuple[str, AckPhase]] = field(default_factory=list[tuple[str, AckPhase]])

    async def until_asking_ended(self) -> str:
        """Why the agent stopped to ask for a claim."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.asking_ended.get()

    def stop(self) -> None:
        """Asks it to end; the context of the fixture waits for it."""
        assert self.agent is not None
        self.agent.stop()

    def runs(self) -> list[str]:
        """What the scripts wrote into the file `runs`."""
        path = self.directory / "runs"
        return path.read_text().splitlines() if path.exists() else []


StartAgent = Callable[..., AbstractAsyncContextManager[RunningAgent]]


@pytest.fixture
async def gateway() -> AsyncGenerator[FakeAgentGateway]:
    async with fake_agent_gateway() as fake:
        yield fake


@pytest.fixture
def start_agent(gateway: FakeAgentGateway, tmp_path: Path) -> StartAgent:
    """Runs an agent for as long as a context lasts, in the test's one directory."""

    @asynccontextmanager
    async def start(
        token: Token | None = None, shutdown_seconds: float = 8.0, **limits: float
    ) -> AsyncGenerator[RunningAgent]:
        clock, stream = RecordingClock(), io.StringIO()
        running = RunningAgent(directory=tmp_path, clock=clock, log=stream)
        running.agent = agent = Agent(
            AgentSettings(
                host="127.0.0.1",
                port=gateway.port,
                is_secure=False,
                token=token or Token("the-token"),
                directory=tmp_path,
                shutdown_seconds=shutdown_seconds,
                script_env={"PATH": "/usr/bin:/bin"},
            ),
            AgentCallbacks(
                lifecycle_changed=running.lifecycles.append,
                claim_acknowledged=lambda claim_id, phase: running.acknowledged.append(
                    (claim_id, phase)
                ),
                asking_ended=running.asking_ended.put_nowait,
            ),
            Surroundings(
                clock=clock,
                limits=replace(QUICK, **limits),  # pyright: ignore[reportArgumentType] - named by tests
                log=AgentLog(clock, stream),
            ),
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(agent.run())
            try:
                yield running
            except BaseException:
                task.cancel()
                raise
            agent.stop()

    return start
