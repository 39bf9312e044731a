"""A claim reaches the agent once, whatever happens to the stream, the gateway or the agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import grpc
import pytest

from agentsdk import Token
from agentsdk.memory import ClaimProgress, ClaimRecord, MemoryFile
from testkit.fake_agent_gateway import (
    Ended,
    FakeAgentGateway,
    Silence,
    fake_agent_gateway,
    reinit,
)

pytestmark = pytest.mark.integration

START = 'echo "start $CODER_WORKSPACE_OWNER_NAME" >> runs'
STOP = 'echo "stop $CODER_WORKSPACE_OWNER_NAME" >> runs'
APPLIED = [("claim-1", "APPLYING"), ("claim-1", "APPLIED")]


class RunningAgent(Protocol):
    def runs(self) -> list[str]: ...
    async def until_asking_ended(self) -> str: ...


StartAgent = Callable[..., AbstractAsyncContextManager[RunningAgent]]


@pytest.fixture
def pool_gateway(gateway: FakeAgentGateway) -> FakeAgentGateway:
    """A gateway whose agent says who starts and who stops."""
    gateway.add_script("start", START)
    gateway.add_script("stop", STOP, on_stop=True)
    return gateway


async def test_a_claim_restarts_the_agent_under_its_new_owner_once(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    async with start_agent() as agent:
        await pool_gateway.until(lambda fake: "READY" in fake.states() and fake.open_streams == 1)
        pool_gateway.claim("claim-1", "alice")
        assert await agent.until_asking_ended() == "APPLIED"
        await pool_gateway.until(lambda fake: len(fake.acks) == 2 and len(fake.states()) == 4)
        assert agent.runs() == ["start prebuilds", "stop prebuilds", "start alice"]
        assert pool_gateway.phases() == APPLIED
        assert pool_gateway.states() == ["STARTING", "READY", "STARTING", "READY"]
        assert len(pool_gateway.waits) == 1
        await pool_gateway.until(lambda fake: len(fake.liveness) == 1)
    remembered = json.loads((tmp_path / "warmpool-agent.json").read_text())
    assert (remembered["claim_id"], remembered["owner_id"]) == ("claim-1", "alice")
    assert remembered["progress"] == "applied"


async def test_a_claim_applied_by_an_earlier_run_is_acknowledged_again_and_restarts_nothing(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    async with start_agent() as agent:
        pool_gateway.claim("claim-1", "alice")
        await agent.until_asking_ended()
        await pool_gateway.until(lambda fake: fake.phases() == APPLIED)
    runs = agent.runs()
    pool_gateway.acks.clear()
    pool_gateway.waits.clear()

    async with start_agent() as agent:
        assert await agent.until_asking_ended() == "APPLIED"
        await pool_gateway.until(lambda fake: fake.phases() == [("claim-1", "APPLIED")])
        await pool_gateway.until(lambda fake: fake.states()[-1] == "READY")
        assert [wait.last_applied_claim_id for wait in pool_gateway.waits] == ["claim-1"]
        assert agent.runs() == [*runs, "start alice"]


async def test_another_claim_of_the_same_owner_restarts_nothing(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    pool_gateway.claim("claim-1", "alice")
    remember(tmp_path, ClaimProgress.APPLIED)
    pool_gateway.announce(reinit("claim-2", "alice"))
    async with start_agent() as agent:
        assert await agent.until_asking_ended() == "APPLIED"
        await pool_gateway.until(
            lambda fake: fake.phases() == [("claim-2", "APPLIED")] and fake.states()[-1] == "READY"
        )
        assert agent.runs() == ["start alice"]


async def test_an_agent_that_starts_with_the_claims_manifest_starts_once(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    pool_gateway.claim("claim-1", "alice")
    pool_gateway.streams.append([Ended(code=grpc.StatusCode.UNAVAILABLE, retry_after_seconds=0.3)])
    async with start_agent() as agent:
        assert await agent.until_asking_ended() == "APPLIED"
        await pool_gateway.until(lambda fake: fake.phases() == APPLIED)
        assert agent.runs() == ["start alice"]


async def test_an_agent_restarted_while_applying_finishes_the_claim(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    pool_gateway.claim("claim-1", "alice")
    pool_gateway.streams.append([Silence()])
    remember(tmp_path, ClaimProgress.APPLYING)
    async with start_agent() as agent:
        await pool_gateway.until(lambda fake: fake.phases() == [("claim-1", "APPLIED")])
        assert agent.runs() == ["start alice"]
        assert pool_gateway.waits[0].last_applied_claim_id == ""


async def test_a_claim_during_the_start_ends_what_is_starting(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    pool_gateway.add_script("slow", '[ "$FAST" ] || { echo waiting; exec sleep 1000; }')
    async with start_agent() as agent:
        await pool_gateway.until(lambda fake: any(line.text == "waiting" for line in fake.lines))
        pool_gateway.claim("claim-1", "alice", FAST="yes")
        assert await agent.until_asking_ended() == "APPLIED"
        assert agent.runs() == ["start prebuilds", "stop prebuilds", "start alice"]
        await pool_gateway.until(lambda fake: fake.states() == ["STARTING", "STARTING", "READY"])


async def test_a_failing_start_script_fails_the_claim_and_keeps_the_agent(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    pool_gateway.add_script("picky", '[ "$CODER_WORKSPACE_OWNER_NAME" != alice ] || exit 7')
    async with start_agent() as agent:
        await pool_gateway.until(lambda fake: "READY" in fake.states())
        pool_gateway.claim("claim-1", "alice")
        assert await agent.until_asking_ended() == "APPLIED"
        await pool_gateway.until(lambda fake: len(fake.acks) == 2 and len(fake.states()) == 4)
        assert pool_gateway.phases() == [("claim-1", "APPLYING"), ("claim-1", "FAILED")]
        assert pool_gateway.acks[1].error == "script 'picky' ended with exit code 7"
        assert pool_gateway.lifecycles[3].error == "script 'picky' ended with exit code 7"
        assert pool_gateway.states()[3] == "START_ERROR"
        await pool_gateway.until(lambda fake: len(fake.liveness) == 1)


async def test_a_manifest_that_lags_behind_the_claim_is_asked_for_again(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    async with start_agent() as agent:
        await pool_gateway.until(lambda fake: "READY" in fake.states())
        pool_gateway.announce(reinit("claim-1", "alice"))
        await pool_gateway.until(lambda fake: fake.manifests_given == 4)
        pool_gateway.claim("claim-1", "alice")
        assert await agent.until_asking_ended() == "APPLIED"
        assert agent.runs() == ["start prebuilds", "stop prebuilds", "start alice"]


async def test_a_manifest_that_stays_behind_leaves_the_claim_to_be_delivered_again(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    async with start_agent(outdated_manifest_seconds=0.0) as agent:
        await pool_gateway.until(lambda fake: "READY" in fake.states())
        pool_gateway.announce(reinit("claim-1", "alice"))
        await pool_gateway.until(lambda fake: len(fake.waits) == 2)
        assert agent.runs() == ["start prebuilds"]
        assert set(pool_gateway.phases()) == {("claim-1", "APPLYING")}
        pool_gateway.claim("claim-1", "alice")
        assert await agent.until_asking_ended() == "APPLIED"
        await pool_gateway.until(lambda fake: fake.phases()[-1] == ("claim-1", "APPLIED"))
        assert agent.runs() == ["start prebuilds", "stop prebuilds", "start alice"]


async def test_acknowledgements_are_repeated_until_they_are_recorded(
    pool_gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    pool_gateway.failures["AcknowledgeReinit"].extend(
        [Ended(code=grpc.StatusCode.UNAVAILABLE), Ended(code=grpc.StatusCode.UNAUTHENTICATED)]
    )
    async with start_agent() as agent:
        pool_gateway.claim("claim-1", "alice")
        await agent.until_asking_ended()
        await pool_gateway.until(lambda fake: fake.phases()[-1:] == [("claim-1", "APPLIED")])
        assert not pool_gateway.failures["AcknowledgeReinit"]


async def test_a_claim_survives_a_gateway_that_is_replaced(
    start_agent: StartAgent, gateway: FakeAgentGateway
) -> None:
    """GIVEN an agent whose gateway is gone WHEN another listens there THEN it has the claim."""
    async with fake_agent_gateway() as first:
        gateway.port = port = first.port
        async with start_agent() as agent:
            await first.until(lambda fake: fake.open_streams == 1 and "READY" in fake.states())
            await first.stop()
            async with fake_agent_gateway(port=port) as second:
                second.claim("claim-1", "alice")
                assert await agent.until_asking_ended() == "APPLIED"
                await second.until(lambda fake: fake.phases() == APPLIED)


def remember(directory: Path, progress: ClaimProgress) -> None:
    """What a run before this one left behind."""
    record = ClaimRecord(claim_id="claim-1", owner_id="alice", progress=progress)
    MemoryFile(directory, Token("the-token").fingerprint).save(record)
