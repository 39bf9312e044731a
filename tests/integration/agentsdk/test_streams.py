"""What the agent makes of each way a reinit stream can go, and of a gateway that refuses."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import grpc
import pytest

from agentsdk import Token
from testkit.fake_agent_gateway import (
    Ended,
    FakeAgentGateway,
    Silence,
    heartbeat,
    reconnect,
)
from warmpool.agent.v1 import agent_pb2 as pb

pytestmark = pytest.mark.integration

UNAUTHENTICATED = Ended(code=grpc.StatusCode.UNAUTHENTICATED)


class Clock(Protocol):
    sleeps: list[float]


class RunningAgent(Protocol):
    clock: Clock
    log: io.StringIO

    async def until_asking_ended(self) -> str: ...


StartAgent = Callable[..., AbstractAsyncContextManager[RunningAgent]]


async def test_a_stream_that_falls_silent_is_replaced(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    silence = Silence()
    gateway.streams.append([heartbeat(10), silence])
    async with start_agent():
        await silence.broken.wait()
        await gateway.until(lambda fake: len(fake.waits) == 2 and fake.open_streams == 1)
    assert len({wait.session_id for wait in gateway.waits}) == 1


async def test_a_stream_that_never_says_anything_is_replaced(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    silence = Silence()
    gateway.streams.append([silence])
    async with start_agent(first_frame_seconds=0.05):
        await silence.broken.wait()
        await gateway.until(lambda fake: len(fake.waits) == 2)


async def test_a_gateway_that_drains_gets_no_complaint_and_a_new_stream_in_time(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.streams.append([heartbeat(60_000), reconnect(70)])
    async with start_agent() as agent:
        await gateway.until(lambda fake: len(fake.waits) == 2 and fake.open_streams == 1)
        assert 0.07 in agent.clock.sleeps
        assert "WARNING" not in agent.log.getvalue()


async def test_whoever_is_sent_elsewhere_takes_a_new_connection(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    """Behind a load balancer the old one would lead to the gateway that goes away."""
    ended = [heartbeat(60_000)]
    sent_away = [heartbeat(60_000), reconnect(0)]
    gateway.streams.extend([ended, sent_away, sent_away, ended])
    async with start_agent():
        await gateway.until(lambda fake: len(fake.waits) == 5 and fake.open_streams == 1)
        first, second, third, fourth, fifth = gateway.peers
        assert (first, fourth) == (second, fifth)
        assert len({second, third, fourth}) == 3


async def test_a_gateway_that_only_says_reconnect_is_not_asked_without_a_pause(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.streams.extend([[reconnect(0)]] * 3)
    async with start_agent(fast_initial_seconds=0.064, fast_maximum_seconds=0.064) as agent:
        await gateway.until(lambda fake: fake.open_streams == 1 and len(fake.waits) == 4)
        assert sum(0 < seconds < 0.064 for seconds in agent.clock.sleeps) >= 3


async def test_a_frame_of_a_newer_gateway_is_read_over(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    settled = Ended(code=grpc.StatusCode.FAILED_PRECONDITION, reason="NOT_A_PREBUILD")
    gateway.streams.append([pb.WaitForReinitResponse(), settled])
    async with start_agent() as agent:
        assert await agent.until_asking_ended() == "NOT_A_PREBUILD"
        assert len(gateway.waits) == 1


async def test_a_token_that_is_not_committed_yet_is_tried_again(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.failures["GetManifest"].extend([UNAUTHENTICATED] * 5)
    gateway.failures["WaitForReinit"].extend([UNAUTHENTICATED] * 5)
    async with start_agent():
        await gateway.until(lambda fake: "READY" in fake.states() and fake.open_streams == 1)


async def test_a_token_file_is_read_again_when_its_token_is_refused(
    gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("new\n")
    gateway.failures["GetManifest"].append(UNAUTHENTICATED)
    async with start_agent(token=Token("old", path)):
        await gateway.until(lambda fake: "READY" in fake.states())
    assert gateway.tokens == {"old", "new"}


@pytest.mark.parametrize("reason", ["NOT_A_PREBUILD", "CLAIM_ALREADY_APPLIED"])
async def test_a_definitive_answer_ends_the_asking_and_keeps_the_agent(
    reason: str, gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.streams.append([Ended(code=grpc.StatusCode.FAILED_PRECONDITION, reason=reason)])
    gateway.liveness_ms = 20
    async with start_agent() as agent:
        assert await agent.until_asking_ended() == reason
        await gateway.until(lambda fake: len(fake.liveness) == 3)
        assert any(0.015 <= seconds <= 0.019 for seconds in agent.clock.sleeps)
        assert gateway.states() == ["STARTING", "READY"]
        assert len(gateway.waits) == 1


@pytest.mark.parametrize("reason", ["CLAIM_BUILD_FAILED", "SOMETHING_NEWER"])
async def test_a_claim_that_did_not_build_may_still_come(
    reason: str, gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.streams.append([Ended(code=grpc.StatusCode.FAILED_PRECONDITION, reason=reason)])
    async with start_agent() as agent:
        await gateway.until(lambda fake: len(fake.waits) == 2 and len(fake.liveness) == 1)
        gateway.claim("claim-1", "alice")
        assert await agent.until_asking_ended() == "APPLIED"


async def test_a_busy_gateway_is_given_the_time_it_asks_for(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    busy = Ended(code=grpc.StatusCode.UNAVAILABLE, retry_after_seconds=0.2)
    gateway.failures["WaitForReinit"].append(busy)
    async with start_agent() as agent:
        await gateway.until(lambda fake: fake.open_streams == 1)
        assert any(0.2 <= seconds < 0.2 + 0.001 for seconds in agent.clock.sleeps)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNIMPLEMENTED,
    ],
)
async def test_no_other_status_ends_the_asking(
    code: grpc.StatusCode, gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.streams.extend([[heartbeat(60_000), Ended(code=code)], []])
    async with start_agent() as agent:
        await gateway.until(lambda fake: len(fake.waits) == 3)
        gateway.claim("claim-1", "alice")
        assert await agent.until_asking_ended() == "APPLIED"
