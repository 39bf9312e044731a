"""The gateway as a process: settings, readiness, real NATS, SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest

from agentgw.wiring.service import serve
from agentgw.wiring.settings import GatewaySettings
from bus.events import PrebuildClaimed, encode_event
from bus.nats import connect_nats
from bus.subjects import claims_subject
from svckit.errors import StartFailed
from svckit.rungroup import RunGroup
from svckit.settings import load_settings
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_site import DELIVERABLE, REINIT, UNCLAIMED, collect_frames, read_heartbeat
from warmpool.agent.v1 import agent_pb2
from warmpool.agent.v1.agent_pb2_grpc import AgentServiceStub
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.integration

WORKSPACE = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b0ff"


def of_workspace(check: gateway_pb2.AgentCheck) -> gateway_pb2.AgentCheck:
    changed = gateway_pb2.AgentCheck()
    changed.CopyFrom(check)
    changed.workspace_id = WORKSPACE
    return changed


async def test_a_process_delivers_drains_on_sigterm_and_exits_well(
    backend: FakeGatewayBackend, nats_url: str, tmp_path: Path
) -> None:
    port_file, key_file = tmp_path / "port", tmp_path / "key"
    key_file.write_text("the gateway's key\n")
    environment = {
        **os.environ,
        "WARMPOOL_AGENTGW_PORT_FILE": str(port_file),
        "WARMPOOL_AGENTGW_METRICS_LISTEN": "",
        "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": backend.address,
        "WARMPOOL_AGENTGW_KEY_FILE": str(key_file),
        "WARMPOOL_AGENTGW_NATS_URL": nats_url,
        "WARMPOOL_AGENTGW_DRAIN_WINDOW_SECONDS": "0.1",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own would share gRPC's fork hooks
            [sys.executable, "-m", "agentgw"], env=environment, stdout=log, stderr=log
        )
    try:
        port = await eventually(lambda: read_port(process, port_file))
        for token in ("claimed", "waits"):
            backend.put_agent(token, of_workspace(UNCLAIMED))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            agents = AgentServiceStub(channel)
            claimed, waits = (
                agents.WaitForReinit(
                    agent_pb2.WaitForReinitRequest(),
                    metadata=(("authorization", f"Bearer {token}"),),
                )
                for token in ("claimed", "waits")
            )
            await read_heartbeat(claimed)
            await read_heartbeat(waits)
            backend.put_agent("claimed", of_workspace(DELIVERABLE))
            bus = await connect_nats(nats_url, name="reconciler")
            event = encode_event(PrebuildClaimed(workspace_id=WORKSPACE))
            await bus.publish(claims_subject(WORKSPACE), event)
            expected = agent_pb2.WaitForReinitResponse(reinit=REINIT)
            expected.reinit.workspace_id = WORKSPACE
            assert await collect_frames(claimed) == [expected]
            await bus.close()
            process.send_signal(signal.SIGTERM)
            (last,) = await collect_frames(waits)
            assert last.WhichOneof("frame") == "reconnect"
        code = await asyncio.to_thread(process.wait, 20)
        assert code == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


async def test_a_key_goes_to_another_machine_in_clear_only_if_that_was_said(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("the gateway's key\n")
    settings = load_settings(
        GatewaySettings,
        ["--reconciler-address=http://reconciler.test:7080", f"--key-file={key_file}"],
    )

    with pytest.raises(StartFailed) as caught:
        await serve(settings, RunGroup())

    assert str(caught.value) == (
        "reconciler_address: http://reconciler.test:7080 is on another machine and not encrypted:"
        " the token would cross the network in clear; use https:// and reconciler_ca_file, or set"
        " allow_plaintext where something else encrypts"
    )


def read_port(process: subprocess.Popen[bytes], port_file: Path) -> int:
    assert process.poll() is None
    assert port_file.exists()
    return int(port_file.read_text())


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("KEY_FILE", "/nonexistent/key", b"key_file /nonexistent/key"),
        ("RECONCILER_ADDRESS", "nowhere", b"reconciler_address"),
    ],
)
def test_a_process_that_cannot_start_says_why(
    tmp_path: Path, setting: str, value: str, expected: bytes
) -> None:
    (tmp_path / "key").write_text("k")
    environment = {
        **os.environ,
        "WARMPOOL_AGENTGW_METRICS_LISTEN": "",
        "WARMPOOL_AGENTGW_KEY_FILE": str(tmp_path / "key"),
        f"WARMPOOL_AGENTGW_{setting}": value,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "agentgw"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert expected in ended.stdout
