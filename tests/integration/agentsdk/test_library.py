"""The package as a library: its one essential wait, and a gateway behind TLS."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
from svckit.tls import TlsSettings
from testkit.certificates import make_identity
from testkit.fake_agent_gateway import Ended, FakeAgentGateway, Silence, fake_agent_gateway

pytestmark = pytest.mark.integration


def environ(gateway: FakeAgentGateway, scheme: str = "http") -> dict[str, str]:
    return {
        "WARMPOOL_AGENT_URL": f"{scheme}://localhost:{gateway.port}",
        "WARMPOOL_AGENT_TOKEN": "the-token",
    }


def test_every_name_it_offers_is_there() -> None:
    assert [name for name in agentsdk.__all__ if not hasattr(agentsdk, name)] == []


async def test_no_proxy_comes_between_on_this_machine(
    gateway: FakeAgentGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be sent the token in clear."""
    asked = asyncio.Event()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    proxy = await asyncio.start_server(ask, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:{1}".format(*proxy.sockets[0].getsockname()))
    limits = AgentLimits(call_seconds=5.0)
    async with proxy, open_gateway(read_settings(environ(gateway), tmp_path), limits) as door:
        manifest = await door.get_manifest()
    assert (manifest.workspace_id, asked.is_set()) == ("workspace-1", False)


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
    key, certificate = make_certificate("localhost")
    ca_file = tmp_path / "certificate.pem"
    ca_file.write_bytes(certificate)
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    async with fake_agent_gateway(credentials=credentials) as gateway:
        trusting = {**environ(gateway, "https"), "WARMPOOL_AGENT_CA_FILE": str(ca_file)}
        async with open_gateway(read_settings(trusting, tmp_path), AgentLimits()) as door:
            assert (await door.get_manifest()).agent_id == "agent-1"
        limits = AgentLimits(call_seconds=0.5)
        doubting = read_settings(environ(gateway, "https"), tmp_path)
        async with open_gateway(doubting, limits) as door:
            with pytest.raises(CallFailed) as caught:
                await door.get_manifest()
        assert caught.value.code == "DEADLINE_EXCEEDED"
    assert gateway.manifests_given == 1


@pytest.mark.parametrize("kept", [0, 0.5, 1.5])
async def test_roots_that_are_cut_off_leave_the_former_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: float
) -> None:
    """Two certificates, of which so much was written: nothing, a part, the first and a part."""
    server, roots = make_identity(tmp_path, "server"), tmp_path / "roots"
    whole = server.cert_file.read_bytes()
    roots.write_bytes(whole)
    credentials = TlsSettings(server.cert_file, server.key_file).credentials()
    async with fake_agent_gateway(credentials=credentials) as gateway:
        variables = {
            **environ(gateway, "https"),
            "WARMPOOL_AGENT_URL": f"https://127.0.0.1:{gateway.port}",
            "WARMPOOL_AGENT_CA_FILE": str(roots),
        }
        settings, limits = read_settings(variables, tmp_path), AgentLimits(call_seconds=5.0)
        async with open_gateway(settings, limits) as door:
            await door.get_manifest()
            roots.write_bytes((whole + whole)[: int(kept * len(whole))])
            for _ in range(3):
                await door.get_manifest()
    assert capsys.readouterr().err.count("A TLS file cannot be used; the former stays.") == 1


async def test_an_agent_that_runs_takes_new_roots_and_a_new_certificate_of_its_own(
    tmp_path: Path,
) -> None:
    root, server = make_identity(tmp_path, "root"), make_identity(tmp_path, "server")
    agent = make_identity(tmp_path, "agent", issuer=root)
    credentials = TlsSettings(server.cert_file, server.key_file, root.cert_file).credentials()
    async with fake_agent_gateway(credentials=credentials) as gateway:
        variables = {
            **environ(gateway, "https"),
            "WARMPOOL_AGENT_URL": f"https://127.0.0.1:{gateway.port}",
            "WARMPOOL_AGENT_CA_FILE": str(server.cert_file),
            "WARMPOOL_AGENT_CERT_FILE": str(agent.cert_file),
            "WARMPOOL_AGENT_KEY_FILE": str(agent.key_file),
        }
        async with open_gateway(read_settings(variables, tmp_path), AgentLimits()) as door:
            for _renewal in range(4):
                await door.get_manifest()
                make_identity(tmp_path, "root")
                make_identity(tmp_path, "server")
                make_identity(tmp_path, "agent", issuer=root)
    assert gateway.manifests_given == 4


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


def make_certificate(host: str) -> tuple[bytes, bytes]:
    """A fresh key and a certificate of its own for this host, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
