"""One gateway process that holds many agents, beside a bare grpc.aio server that does.

Each agent has a connection of its own; the agents are in processes of their own. The control plane
is a fake one in this process over real gRPC, the bus a real nats-server. Both servers are loaded by
the same agents: how long until all of them wait after they all came at once, the memory each costs,
the CPU while nothing happens, and how soon one of them hears an event. Prints a table and writes
bench-results/gateway.json; asserts no time.

WARMPOOL_BENCH_AGENTS is how many (2000). Every process may open as many files as the machine lets
it: a server needs one per agent.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from uuid import UUID

import grpc.aio
import pytest

from bus.events import PrebuildClaimed, encode_event
from bus.nats import connect_nats
from bus.subjects import claims_subject
from embedded import Supervisor
from testkit.bench import Report, cpu_seconds, percentile
from testkit.bench_agents import WAIT
from testkit.bench_echo import FIRE, HOLD
from testkit.fake_gateway_backend import FakeGatewayBackend, fake_gateway_backend
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.bench

AGENTS = int(os.environ.get("WARMPOOL_BENCH_AGENTS", "2000"))
PER_PROCESS = 2500
EVENTS = 200
SPARE_FILES = 200
IDLE_SECONDS = 5.0
OWNER = str(UUID(int=1))
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What holding the agents costs; memory in KiB per agent, CPU as a share of one core."""

    storm_seconds: float
    refused: int
    broken: int
    kib: float
    idle_cpu: float
    event_p50_ms: float
    event_p99_ms: float


class Agents:
    """The agents' processes and what they say."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes
        self._heard: dict[int, asyncio.Future[float]] = {}

    async def wait_connected(self) -> tuple[float, int, int]:
        """How long the slowest process took; how often agents were told to come back later, and
        how often a stream broke before its first message.
        """
        lines = [(await _read_line(process)).split() for process in self._processes]
        refused, broken = (sum(int(line[column]) for line in lines) for column in (2, 3))
        return max(float(line[1]) for line in lines), refused, broken

    def hear(self, number: int) -> asyncio.Future[float]:
        """When this agent hears its next event."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._heard[number] = future
        return future

    async def listen(self) -> None:
        """Notes every event, forever."""
        async with asyncio.TaskGroup() as tasks:
            for process in self._processes:
                tasks.create_task(self._listen_to(process))

    async def _listen_to(self, process: asyncio.subprocess.Process) -> None:
        while True:
            _, number, moment = (await _read_line(process)).split()
            if future := self._heard.pop(int(number), None):
                future.set_result(float(moment))


async def _read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "an agents' process ended"
    return line.decode().strip()


@asynccontextmanager
async def run_agents(address: str, method: str) -> AsyncGenerator[Agents]:
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "testkit.bench_agents", address, method),
            *(str(first), str(min(PER_PROCESS, AGENTS - first))),
            stdout=asyncio.subprocess.PIPE,
        )
        for first in range(0, AGENTS, PER_PROCESS)
    ]
    try:
        yield Agents(processes)
    finally:
        for process in processes:
            process.kill()
            await process.wait()


def memory_kib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB


async def measure(
    pid: int, address: str, method: str, fire: Callable[[int], Awaitable[object]]
) -> Held:
    """Holds the agents at this server; `fire` makes it tell one."""
    before_kib = memory_kib(pid)
    async with run_agents(address, method) as agents:
        storm_seconds, refused, broken = await agents.wait_connected()
        cpu_before = cpu_seconds(pid)
        idle = asyncio.Event()
        asyncio.get_running_loop().call_later(IDLE_SECONDS, idle.set)
        await idle.wait()
        idle_cpu = (cpu_seconds(pid) - cpu_before) / IDLE_SECONDS
        kib = (memory_kib(pid) - before_kib) / AGENTS
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
        storm_seconds=storm_seconds,
        refused=refused,
        broken=broken,
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


async def measure_gateway(supervisor: Supervisor, directory: Path, nats_url: str) -> Held:
    port_file, key_file = directory / "agentgw.port", directory / "key"
    key_file.write_text("the gateway's key")
    async with fake_gateway_backend() as backend:
        for number in range(AGENTS):
            put_agent(backend, number, gateway_pb2.REINIT_VERDICT_UNCLAIMED)
        port = await supervisor.start_service(
            "agentgw",
            "agentgw",
            {
                "WARMPOOL_AGENTGW_PORT_FILE": str(port_file),
                "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": backend.address,
                "WARMPOOL_AGENTGW_KEY_FILE": str(key_file),
                "WARMPOOL_AGENTGW_NATS_URL": nats_url,
            },
            port_file=port_file,
        )
        pid = supervisor.pid_of("agentgw")
        assert pid is not None
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
            held = await measure(pid, f"127.0.0.1:{port}", WAIT, fire)
        finally:
            await bus.close()
        await supervisor.stop_service("agentgw")
    return held


async def measure_bare(supervisor: Supervisor, directory: Path) -> Held:
    port_file = directory / "echo.port"
    port = await supervisor.start_service(
        "echo",
        "testkit.bench_echo",
        {},
        port_file=port_file,
        arguments=(str(port_file), "150"),
    )
    pid = supervisor.pid_of("echo")
    assert pid is not None
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(FIRE)

        async def fire(number: int) -> None:
            await call(f"agent-{number}".encode())

        held = await measure(pid, f"127.0.0.1:{port}", HOLD, fire)
    await supervisor.stop_service("echo")
    return held


@pytest.fixture
def many_files() -> Generator[None]:
    """Lets this process and its children open all the files they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > AGENTS + SPARE_FILES, (
        f"{AGENTS} agents need more open files than the {hard} that the machine allows"
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
async def test_a_gateway_beside_a_bare_server(tmp_path: Path, nats_url: str) -> None:
    async with Supervisor(tmp_path) as supervisor:
        bare = await measure_bare(supervisor, tmp_path)
        ours = await measure_gateway(supervisor, tmp_path, nats_url)
    report = Report("gateway", f"{AGENTS} agents held by one process, a connection each")
    for name in Held.__dataclass_fields__:
        floor, figure = float(getattr(bare, name)), float(getattr(ours, name))
        report.add(name, bare=floor, gateway=figure, ratio=figure / floor if floor else "")
    report.print()
