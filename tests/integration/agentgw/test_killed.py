"""A gateway process is killed at every step of telling its agent of a claim; another takes over.

Two real gateways on a real bus, a real agent, and between them a proxy that leads to one gateway,
then to the other. The control plane is a fake one that holds the step at which the first gateway is
to die. Whatever the step, the agent applies the claim once, and the control plane hears of it.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentsdk import Agent, AgentLimits, AgentSettings, Surroundings, Token
from agentsdk.log import AgentLog
from agentsdk.system import SystemClock
from bus.api import Bus
from bus.events import PrebuildClaimed, encode_event
from bus.nats import connect_nats
from bus.subjects import claims_subject
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.faultproxy import FaultProxy, fault_proxy
from testkit.gateway_process import read_port, start_gateway
from testkit.gateway_site import AGENT, CLAIM, OWNER, make_check
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.integration

WORKSPACE = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b0fe"
TOKEN = "the-agents-token"
PATIENCE_SECONDS = 20.0
UNCLAIMED = make_check(gateway_pb2.REINIT_VERDICT_UNCLAIMED, workspace_id=WORKSPACE)
DELIVERABLE = make_check(gateway_pb2.REINIT_VERDICT_DELIVERABLE, workspace_id=WORKSPACE)
LIMITS = AgentLimits(
    call_seconds=5.0,
    fast_initial_seconds=0.02,
    fast_maximum_seconds=0.1,
    slow_initial_seconds=0.05,
    slow_maximum_seconds=0.2,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything a step needs."""

    backend: FakeGatewayBackend
    bus: Bus
    proxy: FaultProxy
    gateways: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]
    ports: tuple[int, int]
    directory: Path

    def commit(self) -> None:
        """The claim is deliverable from now on."""
        self.backend.put_manifest(TOKEN, manifest("alice", CLAIM))
        self.backend.put_agent(TOKEN, DELIVERABLE)

    async def announce(self) -> None:
        """Says so on the bus."""
        event = encode_event(PrebuildClaimed(workspace_id=WORKSPACE, claim_id=CLAIM))
        await self.bus.publish(claims_subject(WORKSPACE), event)
        await self.bus.flush()

    async def until_waiting(self) -> None:
        """The agent has been looked at, and is told to wait."""
        await self.backend.until(lambda: bool(self.backend.connected_tokens()))

    async def until_applying(self) -> None:
        """It was told, has said so, and its start script does not end yet."""
        await self.until_waiting()
        os.mkfifo(self.directory / "gate")
        self.commit()
        await self.announce()
        await self.backend.until(lambda: self.phases() == ["APPLYING"])
        await eventually(lambda: _must(self.runs() == ["prebuilds", "alice"]))

    async def let_start_end(self) -> None:
        """The start script ends."""
        await asyncio.to_thread((self.directory / "gate").write_bytes, b"")

    def kill(self) -> None:
        """Ends the first gateway as a crash does; from now on the second is there."""
        self.proxy.upstream = f"127.0.0.1:{self.ports[1]}"
        self.gateways[0].kill()
        self.gateways[0].wait()

    def runs(self) -> list[str]:
        """For whom the start script ran."""
        path = self.directory / "runs"
        return path.read_text().split() if path.exists() else []

    def phases(self) -> list[str]:
        """What the control plane heard of the claim from the agent, repeats left out."""
        said = [
            types_pb2.ReinitPhase.Name(record.phase).removeprefix("REINIT_PHASE_")
            for record in self.backend.reinits
            if not record.delivered
        ]
        return list(dict.fromkeys(said))


Step = Callable[[Scene], Awaitable[None]]


async def before_the_stream(scene: Scene) -> None:
    scene.proxy.cut()
    scene.commit()
    await scene.announce()
    scene.kill()


async def while_it_waits(scene: Scene) -> None:
    await scene.until_waiting()
    scene.kill()
    scene.commit()
    await scene.announce()


async def before_the_look(scene: Scene) -> None:
    """It has registered, and its question is under way."""
    await scene.until_waiting()
    scene.backend.hold_answers()
    looks = len(scene.backend.checks)
    scene.proxy.cut()
    await scene.backend.until(lambda: len(scene.backend.checks) > looks)
    scene.commit()
    await scene.announce()
    scene.kill()


async def after_the_look(scene: Scene) -> None:
    """The control plane has read the claim, and its answer dies with who asked."""
    await scene.until_waiting()
    scene.backend.hold_answers()
    looks = len(scene.backend.checks)
    scene.commit()
    await scene.announce()
    await scene.backend.until(lambda: len(scene.backend.checks) > looks)
    scene.kill()


async def before_the_event_arrives(scene: Scene) -> None:
    """It was written, recorded as written, and is lost on the way."""
    await scene.until_waiting()
    scene.proxy.freeze()
    scene.commit()
    await scene.announce()
    await scene.backend.until(lambda: bool(scene.backend.reinits))
    scene.kill()
    scene.proxy.cut()
    scene.proxy.thaw()


async def before_the_delivery_is_recorded(scene: Scene) -> None:
    await scene.until_waiting()
    scene.backend.hold_records()
    scene.commit()
    await scene.announce()
    await eventually(lambda: _must(scene.runs() == ["prebuilds", "alice"]))
    scene.kill()


async def before_the_acknowledgement_is_recorded(scene: Scene) -> None:
    await scene.until_applying()
    scene.backend.hold_records()
    calls = scene.backend.reinit_calls
    await scene.let_start_end()
    await scene.backend.until(lambda: scene.backend.reinit_calls > calls)
    scene.kill()


async def before_the_acknowledgement_is_answered(scene: Scene) -> None:
    await scene.until_applying()
    scene.backend.hold_confirmations()
    await scene.let_start_end()
    await scene.backend.until(lambda: scene.phases() == ["APPLYING", "APPLIED"])
    scene.kill()


async def after_everything(scene: Scene) -> None:
    await scene.until_waiting()
    scene.commit()
    await scene.announce()
    await scene.backend.until(lambda: scene.phases() == ["APPLYING", "APPLIED"])
    scene.kill()


STEPS = (
    before_the_stream,
    while_it_waits,
    before_the_look,
    after_the_look,
    before_the_event_arrives,
    before_the_delivery_is_recorded,
    before_the_acknowledgement_is_recorded,
    before_the_acknowledgement_is_answered,
    after_everything,
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
async def test_a_gateway_dies_and_the_claim_is_applied_once(
    backend: FakeGatewayBackend, nats_url: str, tmp_path: Path, step: Step
) -> None:
    backend.put_agent(TOKEN, UNCLAIMED)
    backend.put_manifest(TOKEN, manifest("prebuilds"))
    async with AsyncExitStack() as stack:
        bus = await connect_nats(nats_url, name="reconciler")
        stack.push_async_callback(bus.close)
        first, second = (
            stack.enter_context(start_gateway(backend.address, nats_url, tmp_path, name))
            for name in ("first", "second")
        )
        ports = (
            await eventually(lambda: read_port(tmp_path, "first")),
            await eventually(lambda: read_port(tmp_path, "second")),
        )
        proxy = await stack.enter_async_context(fault_proxy(f"127.0.0.1:{ports[0]}"))
        await stack.enter_async_context(a_waiting_agent(backend, proxy.port, tmp_path))
        scene = Scene(
            backend=backend,
            bus=bus,
            proxy=proxy,
            gateways=(first, second),
            ports=ports,
            directory=tmp_path,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            await step(scene)
            backend.release_answers()
            await backend.until(lambda: "APPLIED" in scene.phases())
        assert scene.runs() == ["prebuilds", "alice"]
        assert scene.phases()[-1] == "APPLIED"  # APPLYING is forgotten if it comes too late


@asynccontextmanager
async def a_waiting_agent(
    backend: FakeGatewayBackend, port: int, directory: Path
) -> AsyncGenerator[None]:
    agent = Agent(
        AgentSettings(
            host="127.0.0.1",
            port=port,
            is_secure=False,
            token=Token(TOKEN),
            directory=directory,
            shutdown_seconds=2.0,
            script_env={"PATH": "/usr/bin:/bin"},
        ),
        surroundings=Surroundings(limits=LIMITS, log=AgentLog(SystemClock(), io.StringIO())),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run())
        await backend.until(
            lambda: (
                types_pb2.AGENT_LIFECYCLE_READY
                in [report.lifecycle for report in backend.lifecycles]
            )
        )
        try:
            yield
        finally:
            agent.stop()


def manifest(owner: str, claim_id: str = "") -> gateway_pb2.AgentManifest:
    text = 'echo "$CODER_WORKSPACE_OWNER_NAME" >> runs; [ ! -p gate ] || cat gate'
    return gateway_pb2.AgentManifest(
        agent_id=AGENT,
        agent_name="main",
        workspace_id=WORKSPACE,
        workspace_name="w",
        owner_id=OWNER,
        owner_name=owner,
        is_prebuild=not claim_id,
        claim_id=claim_id,
        scripts=[gateway_pb2.ManifestScript(display_name="start", script=text, run_on_start=True)],
    )


def _must(is_so: bool) -> None:
    assert is_so
