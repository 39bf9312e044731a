"""An agent goes from one gateway to another, and the control plane, real with its database, hears
of it in the wrong order or twice.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from agentsdk import AgentLimits, AgentSettings, Surroundings, Token
from agentsdk.gateway import open_gateway
from agentsdk.log import AgentLog
from agentsdk.script_logs import ScriptLogs
from agentsdk.system import SystemClock
from svckit.auth import hash_token
from svckit.channel import open_channel
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.faultproxy import fault_proxy
from testkit.gateway_plane import GatewayPlane, serve_plane
from testkit.gateway_process import read_port, start_gateway
from testkit.gateway_site import QUIET, Site, read_heartbeat, serve_site
from testkit.pool_world import PoolWorld, token_of

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 20.0
LIMITS = AgentLimits(
    call_seconds=5.0,
    fast_initial_seconds=0.02,
    fast_maximum_seconds=0.1,
    slow_initial_seconds=0.05,
    slow_maximum_seconds=0.2,
    log_delay_seconds=0.0,
)


@asynccontextmanager
async def a_gateway_of(plane: GatewayPlane) -> AsyncGenerator[Site]:
    channel = open_channel(plane.address, token="the gateway's key")
    async with serve_site(FakeGatewayBackend(), QUIET, channel=channel) as site:
        yield site


async def test_a_late_word_of_the_former_gateway_leaves_the_prebuild_claimable(
    world: PoolWorld,
) -> None:
    workspace_id = await world.ready_prebuild()
    token = token_of(workspace_id)
    token_hash = hash_token(token)
    async with (
        serve_plane(world) as plane,
        a_gateway_of(plane) as former,
        a_gateway_of(plane) as latter,
    ):
        left = former.open_stream(token)
        await read_heartbeat(left)
        await plane.until(lambda: _count(plane, "arrived", token_hash) == 1)
        arrived = latter.open_stream(token)
        await read_heartbeat(arrived)
        await plane.until(lambda: _count(plane, "arrived", token_hash) == 2)
        left.cancel()  # the former says so after a while, in which the agent may be back
        await plane.until(lambda: _count(plane, "disconnected", token_hash) == 1)
        assert await world.claim() == workspace_id
        arrived.cancel()


def _count(plane: GatewayPlane, said: str, token_hash: bytes) -> int:
    """In how many reports an agent is named so."""
    return sum(token_hash in getattr(report, said) for report in plane.liveness)


async def test_lines_that_are_sent_again_after_a_gateway_died_are_stored_once(
    world: PoolWorld, nats_url: str, tmp_path: Path
) -> None:
    token = token_of(await world.ready_prebuild())
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(serve_plane(world))
        first, second = (
            stack.enter_context(start_gateway(plane.address, nats_url, tmp_path, name))
            for name in ("first", "second")
        )
        port, other_port = [
            await eventually(lambda name=name: read_port(tmp_path, name), seconds=PATIENCE_SECONDS)
            for name in ("first", "second")
        ]
        proxy = await stack.enter_async_context(fault_proxy(f"127.0.0.1:{port}"))
        settings = AgentSettings(
            host="127.0.0.1",
            port=proxy.port,
            is_secure=False,
            token=Token(token),
            directory=tmp_path,
        )
        gateway = await stack.enter_async_context(open_gateway(settings, LIMITS))
        surroundings = Surroundings(limits=LIMITS, log=AgentLog(SystemClock(), io.StringIO()))
        logs = ScriptLogs(gateway, settings.token, surroundings)
        sending = await stack.enter_async_context(asyncio.TaskGroup())
        task = sending.create_task(logs.run())

        plane.may_answer_logs.clear()
        logs.write("start", "one")
        logs.write("start", "two")
        await plane.until(lambda: len(plane.logs) == 1)  # stored; the answer is on its way
        logs.write("start", "three")
        proxy.upstream = f"127.0.0.1:{other_port}"
        first.kill()
        first.wait()
        await plane.until(lambda: len(plane.logs) == 2)
        plane.may_answer_logs.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await logs.drain()
        task.cancel()
        assert [line.text for line in plane.logs[1].lines] == ["one", "two", "three"]
        assert second.poll() is None
    rows = await world.fetch("SELECT text FROM agent_logs ORDER BY position")
    assert [row["text"] for row in rows] == ["one", "two", "three"]
