"""Something that everybody needs is away: what still works does, the rest says when to come back,
and everything recovers without a restart.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

import grpc
import grpc.aio
import pytest

from svckit.status import read_error
from testkit.eventually import eventually
from testkit.system import SWEEP_SECONDS, RunningSystem
from warmpool.control.v1.system_pb2 import GetSystemRequest

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
POOL = """
[[presets]]
name = "pool"
default = true
[presets.prebuilds]
instances = 1

[workspace]
setup = "touch ../setup-began; while [ -e ../setup-gate ]; do sleep 0.05; done"

[[agents]]
name = "main"
[[agents.scripts]]
display_name = "Start"
run_on_start = true
script = "echo {owner.username} >> runs.log"
"""
RECOVERED_SECONDS = 25.0


async def test_a_system_that_is_well_is_told_to_be_so_by_all_its_parts(
    running_system: RunningSystem,
):
    async def look() -> None:
        answer = await running_system.client.system.GetSystem(GetSystemRequest(), timeout=10)
        assert [check for check in answer.checks if check.warning or not check.ok] == []
        assert {each.service for each in answer.instances} == {
            "reconciler",
            "gateway",
            "provisioner",
        }

    await eventually(look)


async def warm(system: RunningSystem) -> str:
    template = f"t-{uuid4().hex[:12]}"
    await system.push(template, POOL)
    await system.wait_warm(template)
    return template


async def says(system: RunningSystem, service: str, line: str, summary: str) -> None:
    """Returns once the service's page has a line that begins so; it is ready all the time."""

    async def look() -> None:
        status, page = await asyncio.to_thread(system.readiness, service)
        assert any(each.startswith(line) for each in page.splitlines()), page
        assert (status, page.splitlines()[-1]) == (200, summary)

    await eventually(look)


async def test_without_postgres_the_control_plane_says_when_to_come_back(
    running_system: RunningSystem,
):
    system = running_system
    template = await warm(system)
    pids = {name: system.supervisor.pid_of(name) for name in ("reconciler", "agentgw")}

    await system.postgres.stop()
    try:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await system.create(template)
        await says(system, "reconciler", "[~] postgres: ", "degraded")
    finally:
        await system.postgres.start()
    refused = read_error(caught.value)

    async def claims_again() -> str:
        try:
            return await system.claim(template)
        except grpc.aio.AioRpcError as error:
            raise AssertionError(error.details()) from error

    workspace_id = await eventually(claims_again, seconds=RECOVERED_SECONDS)
    await system.wait_applied(workspace_id, seconds=RECOVERED_SECONDS)
    await says(system, "reconciler", "[+] postgres: ok", "ready")
    assert refused.code == grpc.StatusCode.UNAVAILABLE
    assert refused.retry_after_seconds is not None
    assert pids == {name: system.supervisor.pid_of(name) for name in pids}  # nobody was restarted


async def test_services_that_start_without_the_bus_work_and_find_it_later(
    running_system: RunningSystem,
):
    system = running_system
    template = await warm(system)
    await system.nats.crash()
    try:
        for service in ("reconciler", "agentgw"):
            await system.wait_back(service, system.kill(service))
            await says(system, service, "[~] nats: not connected", "degraded")
        await system.wait_warm(template)
        workspace_id = await system.claim(template)
        await system.wait_applied(workspace_id, seconds=RECOVERED_SECONDS)
    finally:
        await system.nats.start()

    for service in ("reconciler", "agentgw"):
        await says(system, service, "[+] nats: ok", "ready")
    await system.wait_warm(template)
    told = await system.claim(template)
    await system.wait_applied(told, seconds=SWEEP_SECONDS + 3)


async def test_without_the_control_plane_agents_keep_their_streams_and_builds_their_end(
    running_system: RunningSystem,
):
    system = running_system
    template = await warm(system)
    system.freeze("provisionerd")
    try:
        workspace_id = await system.claim(template)
        gate = system.layout.workspaces / workspace_id / "setup-gate"
        gate.touch()
        began = gate.with_name("setup-began")
        began.unlink()
        system.kill_agent(workspace_id)  # so that the claim's build has something to do
    finally:
        system.thaw("provisionerd")
    await system.wait_warm(template)
    (waiting,) = await system.prebuilds(template)
    said_before = system.agent_log(waiting.id)

    async def has_begun() -> None:
        assert began.exists()

    await eventually(has_begun)
    system.freeze("reconciler")
    try:
        gate.unlink()  # the build ends, and nobody can be told
        for service in ("agentgw", "provisionerd"):
            await says(system, service, "[~] control plane: ", "degraded")
    finally:
        system.thaw("reconciler")

    await system.wait_applied(workspace_id, seconds=RECOVERED_SECONDS)
    for service in ("agentgw", "provisionerd"):
        await says(system, service, "[+] control plane: ok", "ready")
    assert system.runs(workspace_id).count("admin") == 1
    assert system.agent_log(waiting.id) == said_before  # its stream never ended
