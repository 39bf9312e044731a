"""One gateway process that holds many agents, and two on one port, beside a bare grpc.aio server.

Each agent has a connection of its own; the agents are in processes of their own. The control plane
is a fake one in this process over real gRPC, the bus a real nats-server. Both servers are loaded by
the same agents, and the bare one sends heartbeats of the same size at the same pace and probes its
connections as often, so that what it costs at rest is the least that this can cost: how long until
all of them wait after they all came at once, the memory each costs, the CPU while nothing happens
but heartbeats, and how soon one of them hears an event. Prints a table and writes
bench-results/gateway.json; asserts no time.

WARMPOOL_BENCH_AGENTS is how many (2000). Every process may open as many files as the machine lets
it: a server needs one per agent.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from uuid import UUID

import grpc.aio
import pytest

from agentgw.wiring.gateway import GatewayPlan
from bus.events import PrebuildClaimed, encode_event
from bus.nats import connect_nats
from bus.subjects import claims_subject
from embedded import Supervisor
from testkit.bench import Report, cpu_seconds, percentile
from testkit.bench_agents import WAIT
from testkit.bench_crowd import many_files, run_crowd
from testkit.bench_echo import FIRE, HOLD
from testkit.fake_gateway_backend import FakeGatewayBackend, fake_gateway_backend
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.bench

AGENTS = int(os.environ.get("WARMPOOL_BENCH_AGENTS", "2000"))
EVENTS = 200
SETTLE_SECONDS = 10.0  # by then heartbeats have begun
PLAN = GatewayPlan()
IDLE_SECONDS = PLAN.heartbeat_seconds  # a whole interval: after a storm they come in a clump
BARE_OPTIONS = {
    "grpc.keepalive_time_ms": int(PLAN.keepalive_seconds * 1000),
    "grpc.keepalive_timeout_ms": int(PLAN.keepalive_timeout_seconds * 1000),
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,
    "grpc.http2.bdp_probe": 0,
}
OWNER = str(UUID(int=1))
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What holding the agents costs: memory in KiB and the storm's CPU in ms per agent, the CPU at
    rest as a share of one core.
    """

    storm_seconds: float
    storm_cpu_ms: float
    refused: int
    broken: int
    kib: float
    idle_cpu: float
    event_p50_ms: float
    event_p99_ms: float


def memory_kib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB


async def measure(
    pids: Sequence[int], address: str, method: str, fire: Callable[[int], Awaitable[object]]
) -> Held:
    """Holds the agents at the server in these processes; `fire` makes it tell one."""

    def cpu() -> float:
        return sum(cpu_seconds(pid) for pid in pids)

    def memory() -> float:
        return sum(memory_kib(pid) for pid in pids)

    before_kib, cpu_at_start = memory(), cpu()
    async with run_crowd(address, method, AGENTS) as agents:
        storm = await agents.wait_connected()
        cpu_of_storm = cpu() - cpu_at_start
        await asyncio.sleep(SETTLE_SECONDS)
        cpu_before = cpu()
        await asyncio.sleep(IDLE_SECONDS)
        idle_cpu = (cpu() - cpu_before) / IDLE_SECONDS
        kib = (memory() - before_kib) / AGENTS
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(agents.listen())
            seconds: list[float] = []
            for number in range(0, AGENTS, max(1, AGENTS // EVENTS)):
                heard = agents.hear(number)
                fired_at = monotonic()
                await fire(number)
                async with asyncio.timeout(60):
                    seconds.append(await heard - fired_at)
            listening.cancel()
    return Held(
        storm_seconds=storm.seconds,
        storm_cpu_ms=1000 * cpu_of_storm / AGENTS,
        refused=storm.refused,
        broken=storm.broken,
        kib=kib,
        idle_cpu=idle_cpu,
        event_p50_ms=1000 * statistics.median(seconds),
        event_p99_ms=1000 * percentile(seconds, 0.99),
    )


def put_agent(
    backend: FakeGatewayBackend, number: int, verdict: gateway_pb2.ReinitVerdict.ValueType
) -> str:
    """What the control plane says of an agent; its workspace."""
    workspace_id = str(UUID(int=number + 1000))
    check = gateway_pb2.AgentCheck(
        verdict=verdict, agent_id=str(UUID(int=number + 1_000_000)), workspace_id=workspace_id
    )
    if verdict == gateway_pb2.REINIT_VERDICT_DELIVERABLE:
        check.claim_id = str(UUID(int=number + 2_000_000))
        check.owner_id = OWNER
        check.reason = "prebuild_claimed"
    backend.put_agent(f"agent-{number}", check)
    return workspace_id


async def start_gateway(
    supervisor: Supervisor, name: str, directory: Path, environment: dict[str, str]
) -> tuple[int, int]:
    """The gateway's process id and its port."""
    port_file = directory / f"{name}.port"
    port = await supervisor.start_service(
        name,
        "agentgw",
        {**environment, "WARMPOOL_AGENTGW_PORT_FILE": str(port_file)},
        port_file=port_file,
    )
    pid = supervisor.pid_of(name)
    assert pid is not None
    return pid, port


async def measure_gateways(
    supervisor: Supervisor, directory: Path, nats_url: str, *, count: int = 1
) -> Held:
    """So many gateways; more than one share a port."""
    key_file = directory / "key"
    key_file.write_text("the gateway's key")
    async with fake_gateway_backend() as backend:
        for number in range(AGENTS):
            put_agent(backend, number, gateway_pb2.REINIT_VERDICT_UNCLAIMED)
        environment = {
            "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": backend.address,
            "WARMPOOL_AGENTGW_KEY_FILE": str(key_file),
            "WARMPOOL_AGENTGW_NATS_URL": nats_url,
            "WARMPOOL_AGENTGW_REUSE_PORT": str(count > 1).lower(),
        }
        names = [f"agentgw-{count}-{number}" for number in range(count)]
        pids: list[int] = []
        port = 0
        for name in names:
            environment["WARMPOOL_AGENTGW_LISTEN"] = f"127.0.0.1:{port}"
            pid, port = await start_gateway(supervisor, name, directory, environment)
            pids.append(pid)
        bus = await connect_nats(nats_url, name="bench")

        async def fire(number: int) -> None:
            workspace_id = put_agent(backend, number, gateway_pb2.REINIT_VERDICT_DELIVERABLE)
            event = PrebuildClaimed(
                workspace_id=workspace_id,
                owner_id=OWNER,
                claim_id=str(UUID(int=number + 2_000_000)),
            )
            await bus.publish(claims_subject(workspace_id), encode_event(event))
            await bus.flush()

        try:
            held = await measure(pids, f"127.0.0.1:{port}", WAIT, fire)
        finally:
            await bus.close()
        for name in names:
            await supervisor.stop_service(name)
    return held


async def measure_bare(supervisor: Supervisor, directory: Path) -> Held:
    port_file = directory / "echo.port"
    port = await supervisor.start_service(
        "echo",
        "testkit.bench_echo",
        {},
        port_file=port_file,
        arguments=(
            str(port_file),
            "150",
            str(PLAN.heartbeat_seconds),
            json.dumps(BARE_OPTIONS),
        ),
    )
    pid = supervisor.pid_of("echo")
    assert pid is not None
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(FIRE)

        async def fire(number: int) -> None:
            await call(f"agent-{number}".encode())

        held = await measure([pid], f"127.0.0.1:{port}", HOLD, fire)
    await supervisor.stop_service("echo")
    return held


async def test_a_gateway_beside_a_bare_server(tmp_path: Path, nats_url: str) -> None:
    with many_files(AGENTS):
        async with Supervisor(tmp_path) as supervisor:
            bare = await measure_bare(supervisor, tmp_path)
            ours = await measure_gateways(supervisor, tmp_path, nats_url)
            two = await measure_gateways(supervisor, tmp_path, nats_url, count=2)
    report = Report(
        "gateway", f"{AGENTS} agents held by one process, and by two on one port, a connection each"
    )
    for name in Held.__dataclass_fields__:
        floor, figure = float(getattr(bare, name)), float(getattr(ours, name))
        ratio = figure / floor if floor else ""
        report.add(name, bare=floor, gateway=figure, ratio=ratio, two=float(getattr(two, name)))
    report.print()
