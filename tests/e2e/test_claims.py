"""What a claim does to an agent that waits, on a system of real processes."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from bus.events import PrebuildClaimed, encode_event
from bus.nats import connect_nats
from bus.subjects import claims_subject
from testkit.eventually import eventually
from testkit.system import RunningSystem
from warmpool.common.v1.types_pb2 import JobStatus, Transition
from warmpool.control.v1.workspaces_pb2 import BuildWorkspaceRequest

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
POOL = """
[[presets]]
name = "pool"
default = true
[presets.prebuilds]
instances = {instances}

[[agents]]
name = "main"
[[agents.scripts]]
display_name = "Start"
run_on_start = true
script = "echo {{owner.username}} >> runs.log"
"""
PREBUILDS = "prebuilds"


async def warm(system: RunningSystem, instances: int = 1) -> str:
    template = f"t-{uuid4().hex[:12]}"
    await system.push(template, POOL.format(instances=instances))
    await system.wait_warm(template)
    return template


async def test_a_claim_reaches_its_agent(running_system: RunningSystem):
    template = await warm(running_system)

    workspace_id = await running_system.claim(template)
    workspace = await running_system.wait_applied(workspace_id, seconds=5)

    claim = workspace.claim
    steps = [claim.requested_at, claim.claimed_at, claim.built_at, claim.delivered_at]
    moments = [step.ToNanoseconds() for step in [*steps, claim.applied_at]]
    assert moments == sorted(moments)
    assert running_system.runs(workspace_id) == [PREBUILDS, "admin"]
    assert not workspace.is_prebuild
    assert workspace.owner_name == "admin"


async def test_two_at_once_never_get_the_same(running_system: RunningSystem):
    template = await warm(running_system, instances=3)

    async with asyncio.TaskGroup() as group:
        creating = [group.create_task(running_system.create(template)) for _ in range(8)]
    answers = [task.result() for task in creating]

    ids = [answer.workspace.id for answer in answers]
    assert len(set(ids)) == 8
    warm_ids = [answer.workspace.id for answer in answers if answer.warm]
    assert len(warm_ids) >= 3
    for workspace_id in warm_ids:
        await running_system.wait_applied(workspace_id, seconds=20)
        assert running_system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_a_repeated_request_gets_the_first_result(running_system: RunningSystem):
    template = await warm(running_system, instances=2)
    request_id = str(uuid4())

    first = await running_system.create(template, request_id=request_id)
    again = await running_system.create(template, request_id=request_id)

    assert (first.warm, again.warm) == (True, True)
    assert first.workspace.id == again.workspace.id


async def test_a_claim_under_way_is_waited_for_across_a_reconnect(running_system: RunningSystem):
    system = running_system
    template = await warm(system)
    system.freeze("provisionerd")
    try:
        workspace_id = await system.claim(template)
        await system.wait_back("agentgw", system.kill("agentgw"))
        (agent,) = (await system.workspace(workspace_id)).agents
        seen = agent.last_seen_at.ToNanoseconds()

        async def is_connected_again() -> None:
            (agent,) = (await system.workspace(workspace_id)).agents
            assert agent.last_seen_at.ToNanoseconds() > seen

        await eventually(is_connected_again)
        waiting = await system.workspace(workspace_id)
        runs = system.runs(workspace_id)
    finally:
        system.thaw("provisionerd")
    await system.wait_applied(workspace_id, seconds=15)

    assert not waiting.claim.HasField("built_at")
    assert not waiting.claim.HasField("delivered_at")
    assert runs == [PREBUILDS]
    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


async def test_a_claim_whose_build_failed_is_applied_by_a_later_build(
    running_system: RunningSystem,
):
    system = running_system
    template = await warm(system)
    system.freeze("provisionerd")
    try:
        workspace_id = await system.claim(template)
        home = system.home(workspace_id)
        aside = home.with_name("aside")
        home.rename(aside)  # the agent keeps what it has; the build finds a file in its place
        home.write_text("in the way")
    finally:
        system.thaw("provisionerd")

    async def has_failed() -> None:
        workspace = await system.workspace(workspace_id)
        assert workspace.latest_build.job_status == JobStatus.JOB_STATUS_FAILED
        assert workspace.claim.error

    await eventually(has_failed)
    await eventually(lambda: contains(system.agent_log(workspace_id), "CLAIM_BUILD_FAILED"))
    home.unlink()
    aside.rename(home)
    runs = system.runs(workspace_id)
    await system.client.workspaces.BuildWorkspace(
        BuildWorkspaceRequest(workspace_id=workspace_id, transition=Transition.TRANSITION_START)
    )

    await eventually(lambda: equals(system.runs(workspace_id), [PREBUILDS, "admin"]), seconds=90)
    assert runs == [PREBUILDS]


async def test_an_agent_of_a_regular_workspace_is_told_so_and_keeps_running(
    running_system: RunningSystem,
):
    system = running_system
    template = f"t-{uuid4().hex[:12]}"
    await system.push(template, POOL.format(instances=0))

    answer = await system.create(template)
    workspace_id = answer.workspace.id
    note = system.layout.workspaces / workspace_id / "agents/main/agent.pid"
    await eventually(lambda: contains(str(note.exists()), "True"))
    await eventually(lambda: contains(system.agent_log(workspace_id), "NOT_A_PREBUILD"))
    pid = system.agent_pid(workspace_id)
    seen = (await system.workspace(workspace_id)).agents[0].last_seen_at.ToNanoseconds()

    async def is_seen_again() -> None:
        (agent,) = (await system.workspace(workspace_id)).agents
        assert agent.connected
        assert agent.last_seen_at.ToNanoseconds() > seen

    await eventually(is_seen_again)
    await eventually(lambda: equals(system.runs(workspace_id), ["admin"]))
    assert not answer.warm
    assert system.agent_pid(workspace_id) == pid
    assert system.agent_log(workspace_id).count("NOT_A_PREBUILD") == 1


async def test_hints_that_lie_or_repeat_themselves_do_nothing(running_system: RunningSystem):
    system = running_system
    template = await warm(system, instances=3)
    claimed = await system.claim(template)
    applied = await system.wait_applied(claimed, seconds=10)
    await system.wait_warm(template)
    waiting = [each.id for each in await system.prebuilds(template)]
    bus = await connect_nats(system.nats.url, name="test")
    try:
        for workspace_id in (claimed, *waiting):
            event = PrebuildClaimed(
                workspace_id=workspace_id,
                owner_id=applied.owner_id,
                reason="prebuild_claimed",
                claim_id=applied.claim.id,
            )
            for raw in (False, True):
                for _ in range(10):
                    payload = encode_event(event, raw=raw)
                    await bus.publish(claims_subject(workspace_id), payload)
        await bus.flush()
    finally:
        await bus.close()
    told = await system.claim(template)  # comes after them all
    await system.wait_applied(told, seconds=10)

    assert system.runs(claimed) == [PREBUILDS, "admin"]
    assert told in waiting
    assert [system.runs(each) for each in waiting if each != told] == [[PREBUILDS]] * 2


async def test_an_agent_that_comes_back_after_its_claim_is_told_once(
    running_system: RunningSystem,
):
    """No bus at all: the claim was built while the agent was away, and is read on its return."""
    system = running_system
    template = await warm(system)
    await system.nats.stop()
    try:
        system.freeze("agentgw")
        workspace_id = await system.claim(template)

        async def is_built() -> None:
            workspace = await system.workspace(workspace_id)
            assert workspace.claim.HasField("built_at")

        await eventually(is_built)
        gateway = system.kill("agentgw")
        before = system.runs(workspace_id)
        await system.wait_back("agentgw", gateway)
        await system.wait_applied(workspace_id, seconds=15)
    finally:
        await system.nats.start()

    assert before == [PREBUILDS]
    assert system.runs(workspace_id) == [PREBUILDS, "admin"]


def contains(text: str, part: str) -> None:
    assert part in text


def equals(left: object, right: object) -> None:
    assert left == right
