"""The package as a library: its one essential wait, and a gateway behind TLS."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import grpc
import pytest

import agentsdk
from agentsdk import (
    AckPhase,
    AgentLimits,
    CallFailed,
    ReinitEvent,
    ReinitSettled,
    SettingsInvalid,
    open_gateway,
    read_settings,
    wait_for_reinit,
)
from testkit.fake_agent_gateway import Ended, FakeAgentGateway, Silence, fake_agent_gateway

pytestmark = pytest.mark.integration


def environ(gateway: FakeAgentGateway, scheme: str = "http") -> dict[str, str]:
    return {
        "WARMPOOL_AGENT_URL": f"{scheme}://localhost:{gateway.port}",
        "WARMPOOL_AGENT_TOKEN": "the-token",
    }


def test_every_name_it_offers_is_there() -> None:
    assert [name for name in agentsdk.__all__ if not hasattr(agentsdk, name)] == []


async def test_a_program_waits_for_its_claim_and_acknowledges_it(
    gateway: FakeAgentGateway, tmp_path: Path
) -> None:
    gateway.claim("claim-1", "alice")
    async with open_gateway(read_settings(environ(gateway), tmp_path), AgentLimits()) as door:
        event = await wait_for_reinit(door)
        assert event == ReinitEvent(
            workspace_id="workspace-1",
            owner_id="alice",
            reason="prebuild_claimed",
            claim_id="claim-1",
        )
        await door.acknowledge_reinit("claim-1", AckPhase.FAILED, "ä" * 4_000)
    assert gateway.phases() == [("claim-1", "FAILED")]
    assert gateway.acks[0].error == "ä" * 2_048


async def test_a_program_hears_that_nothing_will_come(
    gateway: FakeAgentGateway, tmp_path: Path
) -> None:
    reason = "NOT_A_PREBUILD"
    gateway.streams.append([Ended(code=grpc.StatusCode.FAILED_PRECONDITION, reason=reason)])
    async with open_gateway(read_settings(environ(gateway), tmp_path), AgentLimits()) as door:
        assert await wait_for_reinit(door) == ReinitSettled(reason=reason)


async def test_a_wait_that_is_cancelled_leaves_no_stream_behind(
    gateway: FakeAgentGateway, tmp_path: Path
) -> None:
    silence = Silence()
    gateway.streams.append([silence])
    async with open_gateway(read_settings(environ(gateway), tmp_path), AgentLimits()) as door:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(wait_for_reinit(door))
            await gateway.until(lambda fake: fake.open_streams == 1)
            waiting.cancel()
        async with asyncio.timeout(5):
            await silence.broken.wait()


async def test_a_refusal_carries_its_reason_and_its_wait(
    gateway: FakeAgentGateway, tmp_path: Path
) -> None:
    gateway.failures["GetManifest"].append(
        Ended(
            code=grpc.StatusCode.UNAVAILABLE,
            reason="DRAINING",
            retry_after_seconds=1.5,
            message="going away",
        )
    )
    async with open_gateway(read_settings(environ(gateway), tmp_path), AgentLimits()) as door:
        with pytest.raises(CallFailed) as caught:
            await door.get_manifest()
    failure = caught.value
    assert (failure.code, failure.reason, failure.retry_after_seconds) == (
        "UNAVAILABLE",
        "DRAINING",
        1.5,
    )
    assert str(failure) == "UNAVAILABLE DRAINING: going away"


async def test_tls_trusts_the_certificates_it_is_given(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await asyncio.to_thread(
        subprocess.run,
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    async with fake_agent_gateway(credentials=credentials) as gateway:
        trusting = {**environ(gateway, "https"), "WARMPOOL_AGENT_CA_FILE": str(certificate)}
        async with open_gateway(read_settings(trusting, tmp_path), AgentLimits()) as door:
            assert (await door.get_manifest()).agent_id == "agent-1"
        limits = AgentLimits(call_seconds=0.5)
        doubting = read_settings(environ(gateway, "https"), tmp_path)
        async with open_gateway(doubting, limits) as door:
            with pytest.raises(CallFailed) as caught:
                await door.get_manifest()
        assert caught.value.code == "DEADLINE_EXCEEDED"
    assert gateway.manifests_given == 1


async def test_certificates_that_cannot_be_read_are_a_setting(
    gateway: FakeAgentGateway, tmp_path: Path
) -> None:
    missing = {
        **environ(gateway, "https"),
        "WARMPOOL_AGENT_CA_FILE": str(tmp_path / "missing.pem"),
    }
    with pytest.raises(SettingsInvalid, match="WARMPOOL_AGENT_CA_FILE"):
        async with open_gateway(read_settings(missing, tmp_path), AgentLimits()):
            pass
