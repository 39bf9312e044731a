"""Real agents on one gateway, and another that takes the port over: nobody sees an error."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentsdk import AgentCallbacks, AgentLimits, AgentSettings, CallFailed, Surroundings, Token
from agentsdk.core import Heard, Reconnect
from agentsdk.gateway import Gateway, open_gateway
from agentsdk.reinit import ReinitWaiter
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_site import PATIENCE_SECONDS, QUIET, UNCLAIMED, serve_site

pytestmark = pytest.mark.integration

AGENTS = 40
WINDOW_SECONDS = 0.5  # on a busy machine a call may be on its way that long


@dataclass(slots=True)
class Crowd:
    """What all agents saw."""

    began: int = 0
    ended: list[Heard] = field(default_factory=list[Heard])
    failures: Counter[str] = field(default_factory=Counter[str])
    calls: int = 0
    all_began_again: asyncio.Event = field(default_factory=asyncio.Event)

    def callbacks(self) -> AgentCallbacks:
        return AgentCallbacks(
            stream_began=self._began, stream_ended=self.ended.append, call_failed=self.failed
        )

    def _began(self) -> None:
        self.began += 1
        if self.began == 2 * AGENTS:
            self.all_began_again.set()

    def failed(self, failure: CallFailed) -> None:
        self.failures[str(failure)] += 1

    async def call_all_the_time(self, gateway: Gateway) -> None:
        """So that some call is on its way at every moment."""
        while True:
            await gateway.report_liveness()
            self.calls += 1


async def test_a_port_is_handed_over_and_no_agent_sees_an_error(
    backend: FakeGatewayBackend, tmp_path: Path
) -> None:
    plan = replace(QUIET, reuse_port=True, drain_window_seconds=WINDOW_SECONDS)
    crowd = Crowd()
    async with AsyncExitStack() as stack:
        blue = await stack.enter_async_context(serve_site(backend, plan))
        agents = await stack.enter_async_context(asyncio.TaskGroup())
        tasks: list[asyncio.Task[object]] = []
        for number in range(AGENTS):
            backend.put_agent(f"agent-{number}", UNCLAIMED)
            settings = AgentSettings(
                host="127.0.0.1",
                port=blue.port,
                is_secure=False,
                token=Token(f"agent-{number}"),
                directory=tmp_path,
            )
            gateway = await stack.enter_async_context(
                open_gateway(settings, AgentLimits(), crowd.failed)
            )
            waiter = ReinitWaiter(gateway, Surroundings(), crowd.callbacks())
            tasks.append(agents.create_task(waiter.wait("")))
            tasks.append(agents.create_task(crowd.call_all_the_time(gateway)))
        await blue.until_waiting(AGENTS)

        green = await stack.enter_async_context(
            serve_site(backend, replace(plan, listen=f"127.0.0.1:{blue.port}"))
        )
        calls = crowd.calls
        await blue.gateway.stop()
        await green.until_waiting(AGENTS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await crowd.all_began_again.wait()  # whom green told to wait hears it later
        for task in tasks:
            task.cancel()

    assert crowd.failures == {}
    assert crowd.began == 2 * AGENTS
    assert [type(heard) for heard in crowd.ended] == [Reconnect] * AGENTS
    assert crowd.calls - calls > AGENTS
