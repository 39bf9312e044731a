"""Who is let in, who is sent away, and how a gateway ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from agentgw.core.records import Phase, ReinitRecord
from agentgw.loops.drain import drain_sessions
from agentgw.store.records import RECORDS_PER_CALL_MAX
from svckit.auth import hash_token
from svckit.system import SystemClock, SystemEntropy
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_site import (
    CLAIM,
    DELIVERABLE,
    PATIENCE_SECONDS,
    QUIET,
    REINIT,
    TOKEN,
    UNCLAIMED,
    Site,
    collect_frames,
    read_end,
    read_heartbeat,
    serve_site,
)
from warmpool.agent.v1 import agent_pb2
from warmpool.agent.v1.agent_pb2_grpc import AgentServiceStub

pytestmark = pytest.mark.integration


@asynccontextmanager
async def stub_of(port: int) -> AsyncGenerator[AgentServiceStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield AgentServiceStub(channel)


async def test_too_many_streams_are_told_when_to_come_back(backend: FakeGatewayBackend) -> None:
    async with serve_site(backend, replace(QUIET, sessions_max=1)) as site:
        backend.put_agent("one", UNCLAIMED)
        held = site.open_stream("one")
        await site.until_waiting()
        end = await read_end(site.open_stream("two"))
        assert (end.code, end.reason) == (grpc.StatusCode.UNAVAILABLE, "SESSIONS_EXHAUSTED")
        assert end.retry_after_seconds is not None
        assert 1.0 <= end.retry_after_seconds <= 2.0
        again = site.open_stream("one")  # taking over one's own stream adds none
        assert (await read_end(held)).reason == "SESSION_SUPERSEDED"
        await site.until_waiting()
        again.cancel()


async def test_too_fast_streams_are_told_when_to_come_back(backend: FakeGatewayBackend) -> None:
    plan = replace(QUIET, opens_burst=1, opens_per_second=1)
    async with serve_site(backend, plan) as site:
        backend.put_agent(TOKEN, UNCLAIMED)
        held = site.open_stream()
        await read_heartbeat(held)
        end = await read_end(site.open_stream("two"))
        assert (end.code, end.reason) == (grpc.StatusCode.UNAVAILABLE, "TOO_MANY_CONNECTS")
        assert end.retry_after_seconds is not None
        assert end.retry_after_seconds > 1.0
        held.cancel()


async def test_a_drain_sends_every_agent_elsewhere_without_an_error(
    backend: FakeGatewayBackend,
) -> None:
    names = [f"agent {number}" for number in range(20)]
    for name in names:
        backend.put_agent(name, UNCLAIMED)
    async with asyncio.TaskGroup() as group, serve_site(backend) as site:
        streams = [site.open_stream(name) for name in names]
        await site.until_waiting(len(names))
        readers = [group.create_task(collect_frames(stream)) for stream in streams]
        site_stop = group.create_task(site.gateway.stop())
        await site_stop
        for reader in readers:
            (last,) = await reader
            assert last.WhichOneof("frame") == "reconnect"
            assert 0 <= last.reconnect.after_ms <= 300
    assert [stream.done() for stream in streams] == [True] * len(names)


async def test_who_is_on_the_way_to_a_shared_port_is_sent_on_however_late_it_comes(
    backend: FakeGatewayBackend, site: Site
) -> None:
    """A connection that was accepted opens its stream when its peer gets round to it."""
    backend.put_agent(TOKEN, UNCLAIMED)
    assert await drain_sessions(
        site.gateway.sessions,
        admits=True,
        window_seconds=0.0,
        timeout_seconds=PATIENCE_SECONDS,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    (frame,) = await collect_frames(site.open_stream())
    assert frame.HasField("reconnect")
    await site.gateway.sessions.wait_until_empty()


async def test_a_drained_agent_is_not_reported_gone_and_a_vanished_one_is(
    backend: FakeGatewayBackend,
) -> None:
    async with serve_site(backend) as site:
        for name in ("stays", "vanishes"):
            backend.put_agent(name, UNCLAIMED)
        stays, vanishes = site.open_stream("stays"), site.open_stream("vanishes")
        both = {hash_token("stays"), hash_token("vanishes")}
        await backend.until(lambda: backend.connected_tokens() == both)
        vanishes.cancel()
        await backend.until(lambda: backend.connected_tokens() == {hash_token("stays")})
        frames = asyncio.timeout(PATIENCE_SECONDS)
        async with frames, asyncio.TaskGroup() as group:
            reader = group.create_task(collect_frames(stays))
            await site.gateway.stop()
        assert [frame.WhichOneof("frame") for frame in reader.result()] == ["reconnect"]
    assert backend.connected_tokens() == {hash_token("stays")}


async def test_unknown_tokens_are_never_reported_connected(site: Site) -> None:
    site.backend.put_agent(TOKEN, UNCLAIMED)
    assert (await read_end(site.open_stream("a stranger"))).reason == "UNKNOWN_TOKEN"
    held = site.open_stream()
    await site.backend.until(lambda: bool(site.backend.connected_tokens()))
    assert site.backend.connected_tokens() == {hash_token(TOKEN)}
    held.cancel()


async def test_held_streams_are_reported_again_before_they_are_forgotten(
    backend: FakeGatewayBackend,
) -> None:
    async with serve_site(backend, replace(QUIET, liveness_seconds=0.1)) as site:
        backend.put_agent(TOKEN, UNCLAIMED)
        held = site.open_stream()
        named = [(hash_token(TOKEN),)] * 3
        await backend.until(lambda: [c for c in _connected(backend) if c][:3] == named)
        held.cancel()


async def test_a_gateway_without_agents_says_that_it_is_there(backend: FakeGatewayBackend) -> None:
    async with serve_site(backend, replace(QUIET, liveness_seconds=0.1)):
        await backend.until(lambda: len(backend.liveness) >= 2)
        assert set(_connected(backend)) == {()}


def _connected(backend: FakeGatewayBackend) -> list[tuple[bytes, ...]]:
    return [tuple(report.connected) for report in backend.liveness]


async def test_a_gateway_that_ends_tells_all_it_knows(backend: FakeGatewayBackend) -> None:
    """More than one call's worth, which it could not tell of until now."""
    backend.put_agent(TOKEN, DELIVERABLE)
    backend.fail(grpc.StatusCode.UNAVAILABLE)
    steps = 2 * RECORDS_PER_CALL_MAX + 1
    async with serve_site(backend) as site:
        for _ in range(steps):
            site.gateway.records.add(
                ReinitRecord(
                    token_hash=hash_token(TOKEN),
                    claim_id=CLAIM,
                    phase=Phase.DELIVERED,
                    at_seconds=SystemClock().monotonic(),
                )
            )
        await backend.until(lambda: backend.calls >= 5)  # its pauses are long by then
        backend.recover()
    assert len(backend.reinits) == steps


async def test_two_gateways_share_a_port_and_the_second_takes_over(
    backend: FakeGatewayBackend,
) -> None:
    backend.put_agent(TOKEN, UNCLAIMED)
    blue_plan = replace(QUIET, reuse_port=True)
    async with serve_site(backend, blue_plan) as blue:
        stream = blue.open_stream()
        await blue.until_waiting()
        green_plan = replace(blue_plan, listen=f"127.0.0.1:{blue.port}")
        async with serve_site(backend, green_plan) as green:
            assert green.port == blue.port
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(collect_frames(stream))
                await blue.gateway.stop()
            assert [frame.WhichOneof("frame") for frame in reader.result()] == ["reconnect"]
            async with stub_of(green.port) as agents:
                again = agents.WaitForReinit(
                    agent_pb2.WaitForReinitRequest(),
                    metadata=(("authorization", f"Bearer {TOKEN}"),),
                )
                await green.until_waiting()
                backend.put_agent(TOKEN, DELIVERABLE)
                await green.announce()
                assert await collect_frames(again) == [
                    agent_pb2.WaitForReinitResponse(reinit=REINIT)
                ]


async def test_a_second_gateway_on_a_port_is_refused_unless_both_share_it(site: Site) -> None:
    with pytest.raises(BaseExceptionGroup, match="unhandled errors"):
        async with serve_site(site.backend, replace(QUIET, listen=f"127.0.0.1:{site.port}")):
            pass


async def test_a_session_leaves_nothing_behind(site: Site) -> None:
    site.backend.put_agent(TOKEN, UNCLAIMED)
    held = site.open_stream()
    await site.until_waiting()
    held.cancel()

    def check() -> None:
        assert (site.gateway.sessions.count, site.gateway.sessions.waiting_count) == (0, 0)

    await eventually(check)
