"""Promise 2: a committed claim reaches its agent, whatever is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from uuid import UUID

import grpc
import pytest

from bus.memory import MemoryBus
from bus.nats import connect_nats
from bus.subjects import claims_subject
from svckit.auth import hash_token
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_site import (
    DELIVERABLE,
    PENDING,
    QUIET,
    REINIT,
    TOKEN,
    UNCLAIMED,
    WORKSPACE,
    Site,
    collect_frames,
    read_heartbeat,
    serve_site,
)
from testkit.nats import OwnNats
from warmpool.agent.v1 import agent_pb2

pytestmark = pytest.mark.integration

DELIVERED = [agent_pb2.WaitForReinitResponse(reinit=REINIT)]


def memory_bus(site: Site) -> MemoryBus:
    return cast("MemoryBus", site.bus)


async def test_a_hint_during_the_first_read_is_not_lost(site: Site) -> None:
    """The agent's workspace is not even known yet when its hint comes."""
    site.backend.put_agent(TOKEN, PENDING)
    site.backend.hold_answers()
    stream = site.open_stream()
    await site.backend.until(lambda: len(site.backend.checks) == 1)
    site.backend.put_agent(TOKEN, DELIVERABLE)  # committed after the read ...
    await site.announce()  # ... and announced before its answer
    site.backend.release_answers()
    assert await collect_frames(stream) == DELIVERED
    assert site.backend.checks == [(hash_token(TOKEN),)] * 2


async def test_a_hint_during_a_later_read_is_not_lost(site: Site) -> None:
    site.backend.put_agent(TOKEN, UNCLAIMED)
    stream = site.open_stream()
    await site.until_waiting()
    site.backend.hold_answers()
    await site.announce()
    await site.backend.until(lambda: len(site.backend.checks) == 2)
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await site.announce()
    site.backend.release_answers()
    assert await collect_frames(stream) == DELIVERED


async def test_a_hint_for_somebody_else_repeats_no_read(site: Site) -> None:
    site.backend.put_agent(TOKEN, UNCLAIMED)
    site.backend.hold_answers()
    stream = site.open_stream()
    await site.backend.until(lambda: len(site.backend.checks) == 1)
    await site.announce(str(UUID(int=7)))
    site.backend.release_answers()
    await site.until_waiting()
    assert len(site.backend.checks) == 1
    stream.cancel()


async def test_the_sweep_finds_a_claim_whose_hint_was_lost(backend: FakeGatewayBackend) -> None:
    async with serve_site(backend, replace(QUIET, sweep_seconds=0.5)) as site:
        backend.put_agent(TOKEN, UNCLAIMED)
        stream = site.open_stream()
        await site.until_waiting()
        backend.put_agent(TOKEN, DELIVERABLE)
        memory_bus(site).drop_next()
        await site.announce()
        assert await collect_frames(stream) == DELIVERED


async def test_a_disturbance_has_everybody_looked_at_again(site: Site) -> None:
    names = [f"agent {number}" for number in range(30)]
    for name in names:
        site.backend.put_agent(name, UNCLAIMED)
    streams = [site.open_stream(name) for name in names]
    await site.until_waiting(len(names))
    for name in names:
        site.backend.put_agent(name, DELIVERABLE)
    memory_bus(site).disturb()
    for stream in streams:
        assert await collect_frames(stream) == DELIVERED


@pytest.mark.parametrize(
    "payload", [b"\xff\x00", b"[" * 5000, b'{"owner_id": 7}', b"x" * 20_000, b'{"version":0}']
)
async def test_hostile_messages_harm_nobody(site: Site, payload: bytes) -> None:
    site.backend.put_agent(TOKEN, UNCLAIMED)
    stream = site.open_stream()
    await site.until_waiting()
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await site.bus.publish(claims_subject(WORKSPACE), payload)
    await site.bus.publish("warmpool.v1.claims.not-an-id", b"{}")
    await site.announce()
    assert await collect_frames(stream) == DELIVERED


async def test_the_raw_event_of_an_older_release_is_a_hint_like_any_other(site: Site) -> None:
    site.backend.put_agent(TOKEN, UNCLAIMED)
    stream = site.open_stream()
    await site.until_waiting()
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await site.bus.publish(claims_subject(WORKSPACE), b"prebuild_claimed")
    assert await collect_frames(stream) == DELIVERED


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAUTHENTICATED,  # of the gateway, which is no fault of the agent
    ],
)
async def test_streams_wait_while_the_control_plane_is_away(
    site: Site, code: grpc.StatusCode
) -> None:
    site.backend.put_agent("held", UNCLAIMED)
    held = site.open_stream("held")
    await read_heartbeat(held)
    site.backend.fail(code)
    fresh = site.open_stream("fresh")
    await read_heartbeat(fresh)
    for name in ("held", "fresh"):
        site.backend.put_agent(name, DELIVERABLE)
    memory_bus(site).disturb()
    site.backend.recover()
    assert await collect_frames(held) == DELIVERED
    assert await collect_frames(fresh) == DELIVERED


async def test_a_storm_costs_one_read_per_two_thousand_agents(site: Site) -> None:
    names = [f"agent {number}" for number in range(300)]
    for name in names:
        site.backend.put_agent(name, UNCLAIMED)
    site.backend.hold_answers()
    site.backend.put_agent("first", UNCLAIMED)
    streams = [site.open_stream("first")]
    await site.backend.until(lambda: len(site.backend.checks) == 1)
    streams += [site.open_stream(name) for name in names]

    def check() -> None:
        assert site.gateway.sessions.count == len(streams)

    await eventually(check)
    site.backend.release_answers()
    await site.until_waiting(len(streams))
    assert [len(check) for check in site.backend.checks] == [1, 300]
    for stream in streams:
        stream.cancel()


async def test_a_storm_is_let_in_whole_and_cancels_nobody(site: Site) -> None:
    """gRPC by itself cancels, at random, what comes while a thousand streams are not yet taken."""
    names = [f"agent {number}" for number in range(2500)]
    for name in names:
        site.backend.put_agent(name, UNCLAIMED)
    streams = [site.open_stream(name) for name in names]
    for stream in streams:
        await read_heartbeat(stream)
    assert sum(len(check) for check in site.backend.checks) == len(names)
    assert len(site.backend.checks) < len(names) / 10
    for stream in streams:
        stream.cancel()


async def test_claims_flow_again_when_nats_comes_back(
    backend: FakeGatewayBackend, own_nats: OwnNats
) -> None:
    bus = await connect_nats(own_nats.url, name="agentgw")
    try:
        async with serve_site(backend, bus=bus) as site:
            backend.put_agent(TOKEN, UNCLAIMED)
            stream = site.open_stream()
            await site.until_waiting()
            await own_nats.crash()
            backend.put_agent(TOKEN, DELIVERABLE)  # its hint goes nowhere
            await own_nats.start()
            assert await collect_frames(stream) == DELIVERED
            backend.put_agent("other", UNCLAIMED)
            other = site.open_stream("other")
            await site.until_waiting()
            backend.put_agent("other", DELIVERABLE)
            await site.announce()
            assert await collect_frames(other) == DELIVERED
    finally:
        await bus.close()


async def test_a_gateway_starts_and_serves_without_nats(
    backend: FakeGatewayBackend, own_nats: OwnNats
) -> None:
    await own_nats.stop()
    bus = await connect_nats(own_nats.url, name="agentgw")
    try:
        async with serve_site(backend, bus=bus) as site:
            backend.put_agent(TOKEN, UNCLAIMED)
            stream = site.open_stream()
            await site.until_waiting()
            backend.put_agent(TOKEN, DELIVERABLE)
            await own_nats.start()
            assert await collect_frames(stream) == DELIVERED
    finally:
        await bus.close()
