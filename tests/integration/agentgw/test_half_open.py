"""A network that breaks: between agent and gateway, gateway and control plane, gateway and bus.

A fault proxy stands in between and freezes, strands, cuts, half-closes or delays the connection at
the moment that hurts. A real agent waits behind a real gateway; the claim must reach it, once, and
within `SOON_SECONDS`. The probes that find a dead connection are those of production with shorter
times; what they take here, they take there in proportion.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc.aio
import pytest

from agentsdk import Agent, AgentLimits, AgentSettings, Surroundings, Token
from agentsdk.log import AgentLog
from agentsdk.system import SystemClock
from bus.api import Bus
from bus.nats import connect_nats
from svckit.auth import hash_token
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.faultproxy import FaultProxy, fault_proxy
from testkit.gateway_site import (
    AGENT,
    CLAIM,
    DELIVERABLE,
    OWNER,
    QUIET,
    REINIT,
    UNCLAIMED,
    WORKSPACE,
    Site,
    collect_frames,
    read_heartbeat,
    serve_site,
)
from testkit.nats import OwnNats
from warmpool.agent.v1 import agent_pb2
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.integration

TOKEN = "the-agents-token"
SOON_SECONDS = 10.0
PROBE_SECONDS = 0.4  # twelve times as often as in production
PLAN = replace(QUIET, keepalive_seconds=PROBE_SECONDS, keepalive_timeout_seconds=PROBE_SECONDS)
LIMITS = AgentLimits(
    call_seconds=2.0,
    keepalive_seconds=PROBE_SECONDS,
    keepalive_timeout_seconds=PROBE_SECONDS,
    fast_initial_seconds=0.02,
    fast_maximum_seconds=0.1,
    slow_initial_seconds=0.05,
    slow_maximum_seconds=0.2,
)
DELIVERED = [agent_pb2.WaitForReinitResponse(reinit=REINIT)]
START = """
echo "$CODER_WORKSPACE_OWNER_NAME" >> runs
[ ! -p gate ] || cat gate
"""

Fault = Callable[[FaultProxy], None]


def delay(proxy: FaultProxy) -> None:
    proxy.delay_seconds = 0.15


def freeze_for_a_moment(proxy: FaultProxy) -> None:
    proxy.freeze()
    asyncio.get_running_loop().call_later(3 * PROBE_SECONDS, proxy.thaw)


FAULTS: dict[str, Fault] = {
    "cut": FaultProxy.cut,
    "half-closed": FaultProxy.half_close,
    "stranded": FaultProxy.strand,
    "frozen": freeze_for_a_moment,
    "delayed": delay,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """An agent that waits for its claim, and the network in front of it."""

    site: Site
    proxy: FaultProxy
    directory: Path

    def runs(self) -> list[str]:
        """For whom the start script ran."""
        path = self.directory / "runs"
        return path.read_text().split() if path.exists() else []

    def commit(self) -> None:
        """The claim becomes deliverable; nobody is told."""
        backend = self.site.backend
        backend.put_manifest(TOKEN, manifest("alice", CLAIM))
        backend.put_agent(TOKEN, DELIVERABLE)

    def phases(self) -> list[str]:
        """What the control plane has heard of the claim from the agent, in order, repeats left out:
        an acknowledgement whose answer was lost is made again.
        """
        said = [
            types_pb2.ReinitPhase.Name(record.phase).removeprefix("REINIT_PHASE_")
            for record in self.site.backend.reinits
            if not record.delivered
        ]
        return list(dict.fromkeys(said))

    async def until_applied(self) -> None:
        """Returns when the claim was applied and recorded: soon, once, in order."""
        await self.site.backend.until(lambda: "APPLIED" in self.phases(), seconds=SOON_SECONDS)
        assert self.runs() == ["prebuilds", "alice"]
        assert self.phases() == ["APPLYING", "APPLIED"]


def manifest(owner: str, claim_id: str = "") -> gateway_pb2.AgentManifest:
    start = gateway_pb2.ManifestScript(display_name="start", script=START, run_on_start=True)
    return gateway_pb2.AgentManifest(
        agent_id=AGENT,
        agent_name="main",
        workspace_id=WORKSPACE,
        workspace_name="w",
        owner_id=OWNER,
        owner_name=owner,
        is_prebuild=not claim_id,
        claim_id=claim_id,
        scripts=[start],
    )


@pytest.fixture
async def workspace(backend: FakeGatewayBackend, tmp_path: Path) -> AsyncGenerator[Workspace]:
    """It waits, and is ready."""
    backend.put_agent(TOKEN, UNCLAIMED)
    backend.put_manifest(TOKEN, manifest("prebuilds"))
    async with (
        serve_site(backend, PLAN) as site,
        fault_proxy(f"127.0.0.1:{site.port}") as proxy,
        asyncio.TaskGroup() as group,
    ):
        clock = SystemClock()
        agent = Agent(
            AgentSettings(
                host="127.0.0.1",
                port=proxy.port,
                is_secure=False,
                token=Token(TOKEN),
                directory=tmp_path,
                shutdown_seconds=2.0,
                script_env={"PATH": "/usr/bin:/bin"},
            ),
            surroundings=Surroundings(limits=LIMITS, log=AgentLog(clock, io.StringIO())),
        )
        group.create_task(agent.run())
        await site.until_waiting()
        await backend.until(lambda: types_pb2.AGENT_LIFECYCLE_READY in lifecycles(backend))
        yield Workspace(site=site, proxy=proxy, directory=tmp_path)
        proxy.delay_seconds = 0.0
        agent.stop()


def lifecycles(backend: FakeGatewayBackend) -> list[types_pb2.AgentLifecycle.ValueType]:
    return [report.lifecycle for report in backend.lifecycles]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_agents_network_breaks_while_it_waits(workspace: Workspace, fault: Fault) -> None:
    fault(workspace.proxy)
    workspace.commit()
    await workspace.site.announce()
    await workspace.until_applied()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_agents_network_breaks_while_the_event_is_on_its_way(
    workspace: Workspace, fault: Fault
) -> None:
    workspace.proxy.freeze()
    workspace.commit()
    await workspace.site.announce()
    await workspace.site.backend.until(lambda: bool(workspace.site.backend.reinits))  # written
    fault(workspace.proxy)
    workspace.proxy.thaw()
    await workspace.until_applied()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_agents_network_breaks_while_its_acknowledgement_is_on_its_way(
    workspace: Workspace, fault: Fault
) -> None:
    gate = workspace.directory / "gate"
    (await asyncio.create_subprocess_exec("mkfifo", str(gate)))
    workspace.commit()
    await eventually(lambda: _must(gate.exists()))
    await workspace.site.announce()
    await eventually(lambda: _must(workspace.runs() == ["prebuilds", "alice"]))
    await workspace.site.backend.until(lambda: workspace.phases() == ["APPLYING"])
    workspace.proxy.freeze()
    before = workspace.proxy.taken_bytes
    await asyncio.to_thread(gate.write_bytes, b"")
    await eventually(lambda: _must(workspace.proxy.taken_bytes > before))
    fault(workspace.proxy)
    workspace.proxy.thaw()
    await workspace.until_applied()


async def test_an_agent_without_a_network_is_reported_gone(workspace: Workspace) -> None:
    backend, token = workspace.site.backend, hash_token(TOKEN)
    await backend.until(lambda: token in backend.connected_tokens())
    workspace.proxy.refuse = True  # or it were back before anybody noticed
    workspace.proxy.strand()
    await backend.until(lambda: token not in backend.connected_tokens(), seconds=SOON_SECONDS)
    assert workspace.site.gateway.sessions.count == 0
    workspace.proxy.refuse = False
    workspace.commit()
    await workspace.until_applied()


@asynccontextmanager
async def far_site(backend: FakeGatewayBackend) -> AsyncGenerator[tuple[Site, FaultProxy]]:
    """A gateway whose control plane is behind a proxy."""
    async with fault_proxy(backend.address) as proxy:
        options = (
            ("grpc.keepalive_time_ms", int(1000 * PROBE_SECONDS)),
            ("grpc.keepalive_timeout_ms", int(1000 * PROBE_SECONDS)),
            ("grpc.http2.ping_timeout_ms", int(1000 * PROBE_SECONDS)),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        )
        channel = grpc.aio.insecure_channel(proxy.address, options=options)
        async with serve_site(backend, PLAN, channel=channel) as site:
            yield site, proxy
            proxy.delay_seconds = 0.0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_way_to_the_control_plane_breaks_during_a_look(
    backend: FakeGatewayBackend, fault: Fault
) -> None:
    backend.put_agent(TOKEN, UNCLAIMED)
    async with far_site(backend) as (site, proxy), asyncio.timeout(SOON_SECONDS):
        stream = site.open_stream(TOKEN)
        await site.until_waiting()
        backend.hold_answers()
        looks = len(backend.checks)
        await site.announce()
        await backend.until(lambda: len(backend.checks) > looks)  # it was read as unclaimed,
        fault(proxy)  # and the answer will not be heard, or late
        backend.put_agent(TOKEN, DELIVERABLE)
        backend.release_answers()
        await site.announce()
        assert await collect_frames(stream) == DELIVERED
        await backend.until(lambda: bool(backend.reinits))


async def test_streams_are_kept_and_opened_while_the_control_plane_is_out_of_reach(
    backend: FakeGatewayBackend,
) -> None:
    backend.put_agent("held", UNCLAIMED)
    async with far_site(backend) as (site, proxy), asyncio.timeout(SOON_SECONDS):
        held = site.open_stream("held")
        await read_heartbeat(held)
        proxy.freeze()
        fresh = site.open_stream("fresh")
        await read_heartbeat(fresh)
        for name in ("held", "fresh"):
            backend.put_agent(name, DELIVERABLE)
        await site.announce()
        proxy.cut()
        proxy.thaw()
        assert await collect_frames(held) == DELIVERED
        assert await collect_frames(fresh) == DELIVERED


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_way_to_the_bus_breaks_and_a_hint_is_lost(
    backend: FakeGatewayBackend, own_nats: OwnNats, fault: Fault
) -> None:
    """Nothing sweeps here: the bus itself must notice, and say so."""
    backend.put_agent(TOKEN, UNCLAIMED)
    async with fault_proxy(own_nats.address) as proxy:
        through = own_nats.url.replace(own_nats.address, proxy.address)
        near = await connect_nats(own_nats.url, name="reconciler")
        far = await connect_nats(through, name="agentgw", ping_seconds=PROBE_SECONDS)
        try:
            async with serve_site(backend, PLAN, bus=far) as site, asyncio.timeout(SOON_SECONDS):
                stream = site.open_stream(TOKEN)
                await site.until_waiting()
                fault(proxy)
                backend.put_agent(TOKEN, DELIVERABLE)
                await _announce_at(near, site)
                assert await collect_frames(stream) == DELIVERED
        finally:
            await far.close()
            await near.close()


async def _announce_at(bus: Bus, site: Site) -> None:
    await replace(site, bus=bus).announce()
    await bus.flush()


def _must(is_so: bool) -> None:
    assert is_so
