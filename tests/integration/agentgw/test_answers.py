"""Each row of the answer table, over real gRPC."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from svckit.auth import hash_token
from svckit.status import RemoteError
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_site import (
    CLAIM,
    DELIVERABLE,
    PENDING,
    QUIET,
    REINIT,
    TOKEN,
    UNCLAIMED,
    Site,
    collect_frames,
    make_check,
    read_end,
    read_heartbeat,
    serve_site,
)
from warmpool.agent.v1 import agent_pb2
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.integration


async def test_an_agent_of_a_regular_workspace_is_told_so(site: Site) -> None:
    site.backend.put_agent(TOKEN, make_check(gateway_pb2.REINIT_VERDICT_NOT_A_PREBUILD))
    end = await read_end(site.open_stream())
    assert (end.code, end.reason, end.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NOT_A_PREBUILD",
        {},
    )


async def test_an_agent_that_has_applied_its_claim_is_told_so(site: Site) -> None:
    site.backend.put_agent(TOKEN, make_check(gateway_pb2.REINIT_VERDICT_ALREADY_APPLIED))
    end = await read_end(site.open_stream())
    assert (end.code, end.reason, end.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CLAIM_ALREADY_APPLIED",
        {"claim_id": CLAIM},
    )


async def test_a_failed_claim_build_is_told_with_its_error(site: Site) -> None:
    failed = make_check(gateway_pb2.REINIT_VERDICT_CLAIM_BUILD_FAILED, error="no quota left")
    site.backend.put_agent(TOKEN, failed)
    assert await read_end(site.open_stream()) == RemoteError(
        code=grpc.StatusCode.FAILED_PRECONDITION,
        message="the claim build failed: no quota left",
        reason="CLAIM_BUILD_FAILED",
        metadata={"claim_id": CLAIM},
    )
    site.backend.put_agent(TOKEN, DELIVERABLE)  # a later build succeeded, and the agent asks again
    frames = await collect_frames(site.open_stream())
    assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]


async def test_an_unknown_token_is_unauthenticated(site: Site) -> None:
    end = await read_end(site.open_stream())
    assert (end.code, end.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNKNOWN_TOKEN")


async def test_a_missing_token_is_unauthenticated_and_asks_nothing(site: Site) -> None:
    end = await read_end(site.agents.WaitForReinit(agent_pb2.WaitForReinitRequest()))
    assert (end.code, end.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    assert site.backend.checks == []


async def test_a_deliverable_claim_is_delivered_once_recorded_and_ends_the_stream(
    site: Site,
) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    frames = await collect_frames(site.open_stream())
    assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]
    await site.backend.until(lambda: bool(site.backend.reinits))
    assert site.backend.reinits == [
        gateway_pb2.ReinitRecord(token_hash=hash_token(TOKEN), claim_id=CLAIM, delivered=True)
    ]


@pytest.mark.parametrize("check", [UNCLAIMED, PENDING, make_check(99)])  # pyright: ignore[reportArgumentType]
async def test_who_has_nothing_to_be_told_waits_and_hears_a_heartbeat(
    site: Site, check: gateway_pb2.AgentCheck
) -> None:
    site.backend.put_agent(TOKEN, check)
    stream = site.open_stream()
    assert await read_heartbeat(stream) == agent_pb2.StreamHeartbeat(interval_ms=300_000)
    await site.until_waiting()
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await site.announce()
    frames = await collect_frames(stream)
    assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]


async def test_who_waits_hears_one_heartbeat_after_the_other(
    backend: FakeGatewayBackend,
) -> None:
    async with serve_site(backend, replace(QUIET, heartbeat_seconds=0.1)) as site:
        backend.put_agent(TOKEN, UNCLAIMED)
        stream = site.open_stream()
        for _ in range(5):
            assert (await read_heartbeat(stream)).interval_ms == 100
        stream.cancel()


async def test_a_stream_of_which_nothing_can_be_read_hears_a_heartbeat_all_the_same(
    site: Site,
) -> None:
    site.backend.hold_answers()
    stream = site.open_stream()
    await read_heartbeat(stream)
    stream.cancel()


async def test_a_hint_alone_delivers_nothing(site: Site) -> None:
    site.backend.put_agent(TOKEN, PENDING)
    stream = site.open_stream()
    await site.until_waiting()
    before = len(site.backend.checks)
    await site.announce()
    await site.backend.until(lambda: len(site.backend.checks) == before + 1)
    await site.until_waiting()
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await site.announce()
    frames = await collect_frames(stream)
    assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]


async def test_an_acknowledged_claim_is_never_delivered_again(site: Site) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await collect_frames(site.open_stream())
    await site.agents.AcknowledgeReinit(
        agent_pb2.AcknowledgeReinitRequest(claim_id=CLAIM, phase=types_pb2.REINIT_PHASE_APPLIED),
        metadata=(("authorization", f"Bearer {TOKEN}"),),
    )
    assert (await read_end(site.open_stream())).reason == "CLAIM_ALREADY_APPLIED"


async def test_an_unacknowledged_claim_is_delivered_on_every_stream(site: Site) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    for _ in range(3):
        frames = await collect_frames(site.open_stream())
        assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]


async def test_an_agent_that_remembers_its_claim_has_its_lost_acknowledgement_recorded(
    site: Site,
) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    end = await read_end(site.open_stream(last_applied=CLAIM))
    assert end.reason == "CLAIM_ALREADY_APPLIED"
    await site.backend.until(lambda: bool(site.backend.reinits))
    assert site.backend.reinits == [
        gateway_pb2.ReinitRecord(
            token_hash=hash_token(TOKEN), claim_id=CLAIM, phase=types_pb2.REINIT_PHASE_APPLIED
        )
    ]


async def test_a_malformed_memory_is_refused(site: Site) -> None:
    end = await read_end(site.open_stream(last_applied="../etc"))
    assert (end.code, end.field) == (grpc.StatusCode.INVALID_ARGUMENT, "last_applied_claim_id")


async def test_the_newest_session_of_an_agent_wins(site: Site) -> None:
    site.backend.put_agent(TOKEN, UNCLAIMED)
    old = site.open_stream()
    await site.until_waiting()
    new = site.open_stream()
    end = await read_end(old)
    assert (end.code, end.reason) == (grpc.StatusCode.ABORTED, "SESSION_SUPERSEDED")
    await site.until_waiting()
    assert site.gateway.sessions.count == 1
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await site.announce()
    frames = await collect_frames(new)
    assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]


async def test_the_agents_of_one_workspace_are_all_told(site: Site) -> None:
    names = ("one", "two", "three")
    for name in names:
        site.backend.put_agent(name, UNCLAIMED)
    streams = {name: site.open_stream(name) for name in names}
    await site.until_waiting(3)
    for name in streams:
        site.backend.put_agent(name, DELIVERABLE)
    await site.announce()
    for stream in streams.values():
        frames = await collect_frames(stream)
        assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]
