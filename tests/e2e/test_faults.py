"""Crashes between any two steps of a claim: it reaches its agent all the same, and once.

Every process of the system is killed or frozen at the moment that hurts, on real processes. What
counts is what the workspace shows: the start script ran once for the pool and once for the owner.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest

from bus.events import PrebuildClaimed, decode_claim
from bus.nats import connect_nats
from bus.subjects import claims_subject
from testkit.eventually import eventually
from testkit.system import SWEEP_SECONDS, RunningSystem

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
PREBUILDS = "prebuilds"
POOL = """
[[presets]]
name = "pool"
default = true
[presets.prebuilds]
instances = {instances}

[workspace]
setup = "touch ../setup-began; while [ -e ../setup-gate ]; do sleep 0.05; done"

[[agents]]
name = "main"
[[agents.scripts]]
display_name = "Start"
run_on_start = true
script = '''
echo {{owner.username}} >> runs.log
while [ -e ../start-gate ]; do sleep 0.05; done
echo {{owner.username}} >> finished.log
'''
"""
SWEPT_SECONDS = SWEEP_SECONDS + 3  # a sweep, one call, and a machine that is busy
CRASHED_SECONDS = 25  # a service's start, its clients' backoff


async def warm(system: RunningSystem, instances: int = 1) -> str:
    template = f"t-{uuid4().hex[:12]}"
    await system.push(template, POOL.format(instances=instances))
    await system.wait_warm(template)
    return template


def gate(system: RunningSystem, workspace_id: str, name: str) -> Path:
    """While this file is there, the workspace's setup or start scripts do not end."""
    return system.layout.workspaces / workspace_id / f"{name}-gate"


async def has_built(system: RunningSystem, workspace_id: str) -> None:
    assert (await system.workspace(workspace_id)).claim.HasField("built_at")


@pytest.mark.parametrize("moment", ["before the build", "after the build"])
async def test_the_gateway_is_killed(running_system: RunningSystem, moment: str):
    system = running_system
    template = await warm(system)
    system.freeze("agentgw")  # what it is sent from now on dies with it
    workspace_id = await system.claim(template)
    if moment == "after the build":
        await eventually(lambda: has_built(system, workspace_id))
    pid = system.kill("agentgw")

    await system.wait_back("agentgw", pid)
    await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)

    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_the_bus_is_killed(running_system: RunningSystem):
    system = running_system
    template = await warm(system)
    await system.nats.crash()
    try:
        workspace_id = await system.claim(template)
        await eventually(lambda: has_built(system, workspace_id))
        await system.wait_applied(workspace_id, seconds=SWEPT_SECONDS)
    finally:
        await system.nats.start()

    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_the_bus_stops_without_a_word(running_system: RunningSystem):
    system = running_system
    template = await warm(system)
    system.nats.freeze()
    try:
        workspace_id = await system.claim(template)
        await eventually(lambda: has_built(system, workspace_id))
        await system.wait_applied(workspace_id, seconds=SWEPT_SECONDS)
    finally:
        system.nats.thaw()

    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_the_reconciler_is_killed_when_the_claim_is_committed(
    running_system: RunningSystem,
):
    system = running_system
    template = await warm(system)
    system.freeze("provisionerd")  # the job stays where the reconciler leaves it
    try:
        workspace_id = await system.claim(template)
        await system.wait_back("reconciler", system.kill("reconciler"))
    finally:
        system.thaw("provisionerd")

    await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)

    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_the_reconciler_is_killed_when_the_build_is_committed(
    running_system: RunningSystem,
):
    system = running_system
    template = await warm(system)
    system.freeze("agentgw")  # nobody takes the word of it
    try:
        workspace_id = await system.claim(template)
        await eventually(lambda: has_built(system, workspace_id))
        await system.wait_back("reconciler", system.kill("reconciler"))
    finally:
        system.thaw("agentgw")

    await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)

    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_the_reconciler_is_killed_between_the_commit_and_the_publication(
    running_system: RunningSystem,
):
    """There is no bus while it commits, so what it has to say dies with it, and is said by the
    next one.
    """
    system = running_system
    template = await warm(system)
    await system.nats.stop()
    try:
        workspace_id = await system.claim(template)
        await eventually(lambda: has_built(system, workspace_id))
        await system.wait_back("reconciler", system.kill("reconciler"))
        system.freeze("reconciler")
    finally:
        await system.nats.start()
    listener = await connect_nats(system.nats.url, name="test")
    try:
        async with listener.subscribe(claims_subject(workspace_id)) as hints:
            await listener.flush()
            system.thaw("reconciler")
            async with asyncio.timeout(CRASHED_SECONDS):
                hint = await anext(hints)
    finally:
        system.thaw("reconciler")
        await listener.close()
    workspace = await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)

    assert decode_claim(hint.subject, hint.payload) == PrebuildClaimed(
        workspace_id=workspace_id, owner_id=workspace.owner_id, claim_id=workspace.claim.id
    )
    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_the_provisioner_is_killed_in_the_claims_build(running_system: RunningSystem):
    """The agent is gone, too: the build has something to do, and is caught at it."""
    system = running_system
    template = await warm(system)
    system.freeze("provisionerd")
    try:
        workspace_id = await system.claim(template)
        gate(system, workspace_id, "setup").touch()
        began = gate(system, workspace_id, "setup").with_name("setup-began")
        began.unlink()
        system.kill_agent(workspace_id)
    finally:
        system.thaw("provisionerd")

    await eventually(lambda: equals(began.exists(), True))
    pid = system.kill("provisionerd")
    gate(system, workspace_id, "setup").unlink()
    await system.wait_back("provisionerd", pid)
    workspace = await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)

    assert attempts_at(system, workspace.latest_build.job_id) == [1, 2]
    assert system.runs(workspace_id).count("admin") == 1


async def test_the_agent_is_killed_while_it_applies(running_system: RunningSystem):
    system = running_system
    template = await warm(system)
    (prebuild,) = await system.prebuilds(template)
    gate(system, prebuild.id, "start").touch()
    workspace_id = await system.claim(template)
    await eventually(lambda: equals(system.runs(workspace_id), [PREBUILDS, "admin"]))
    assert not (await system.workspace(workspace_id)).claim.HasField("applied_at")

    agent = await system.restart_agent(workspace_id)
    await eventually(lambda: equals(system.runs(workspace_id), [PREBUILDS, "admin", "admin"]))
    gate(system, workspace_id, "start").unlink()
    workspace = await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)
    finished = (system.home(workspace_id) / "finished.log").read_text().split()

    assert workspace_id == prebuild.id
    assert not workspace.claim.error
    assert finished == [PREBUILDS, "admin"]
    assert agent == system.agent_pid(workspace_id)
    system.claimed.remove(workspace_id)  # its owner's script began twice, as it had to


@pytest.mark.parametrize("service", ["agentgw", "reconciler"])
async def test_who_takes_the_acknowledgement_is_killed_while_the_agent_applies(
    running_system: RunningSystem, service: str
):
    system = running_system
    template = await warm(system)
    (prebuild,) = await system.prebuilds(template)
    gate(system, prebuild.id, "start").touch()
    workspace_id = await system.claim(template)
    await eventually(lambda: equals(system.runs(workspace_id), [PREBUILDS, "admin"]))

    pid = system.kill(service)
    gate(system, workspace_id, "start").unlink()  # the agent is done before anyone is back
    await system.wait_back(service, pid)
    workspace = await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)

    assert workspace_id == prebuild.id
    assert not workspace.claim.error
    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_no_claim_of_all_these_was_applied_twice(running_system: RunningSystem):
    """Time has passed, gateways have come and gone: nobody was told again."""
    system = running_system
    for workspace_id in system.claimed:
        await system.wait_applied(workspace_id, seconds=CRASHED_SECONDS)

    runs = {each: system.runs(each).count("admin") for each in system.claimed}
    assert runs == dict.fromkeys(system.claimed, 1)


def attempts_at(system: RunningSystem, job_id: str) -> list[int]:
    """The attempts at a job that reached the provisioner."""
    lines = [json.loads(line) for line in system.service_log("provisionerd").splitlines()]
    return [
        line["attempt"]
        for line in lines
        if line.get("job_id") == job_id and line["message"] == "a job came"
    ]


def equals(left: object, right: object) -> None:
    assert left == right
