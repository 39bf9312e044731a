"""Templates with what templates of others were found to use, with stub providers, from import to
delete: nested blocks, counts, modules in modules, rendered files, a provider told by a parameter.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from provisionerd.core.provisioner import Prebuilds, Preset, Schedule
from testkit.stubs.runner import Life, live

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
]

TEMPLATES = Path(__file__).parent / "templates"
STEPS = ["import", "create", "rehearse", "claim", "start", "stop", "delete"]


async def live_through(name: str, work: Path) -> Life:
    """The life of one of our templates, which must be a whole one that replaces nothing."""
    life = await live(TEMPLATES / name, work)
    assert (life.failed_step, life.error) == ("", "")
    assert list(life.steps_ms) == STEPS
    assert life.rehearsed == life.claimed.replacements == ()
    assert [agent.token for agent in life.claimed.agents] == [
        agent.token for agent in life.created.agents
    ]
    assert life.tfstates["delete"].managed == ()
    return life


async def test_presets_parameters_and_a_provider_told_by_one(tmp_path: Path) -> None:
    life = await live_through("pools", tmp_path)
    assert life.providers == ["example/cloud"]
    assert [each.name for each in life.imported.parameters] == ["ides", "size", "region"]
    assert life.imported.presets == (
        Preset(
            name="Warm",
            is_default=True,
            parameters={"region": "us", "size": "50"},
            prebuilds=Prebuilds(
                instances=2,
                ttl_seconds=86_400,
                timezone="Europe/Vienna",
                schedules=(
                    Schedule(cron="* 8-18 * * 1-5", instances=5),
                    Schedule(cron="* 9-12 * * 6", instances=1),
                ),
            ),
        ),
    )
    (agent,) = life.claimed.agents
    assert agent.env == {"OWNER": "grace", "IDES": "vim"}
    assert [app.slug for app in agent.apps] == ["vim"]
    assert {each.address: each.agent_names for each in life.claimed.resources} == {
        "cloud_disk.home": (),
        "cloud_server.vm[0]": ("main",),
    }
    (server,) = [each for each in life.tfstates["claim"].managed if each.type == "cloud_server"]
    zone = server.attributes["network"]
    assert zone == [
        {"subnet": "10.0.0.0/24", "address": [{"public": "true", "labels": {"zone": "us-1"}}]}
    ]
    assert [each.type for each in life.tfstates["stop"].managed] == ["cloud_disk"]


async def test_agents_in_modules_each_on_a_machine_of_its_own(tmp_path: Path) -> None:
    life = await live_through("fleet", tmp_path)
    assert {each.name for each in life.imported.parameters} == {
        "front_cpu",
        "back0_cpu",
        "back1_cpu",
    }
    assert {agent.name: agent.arch for agent in life.claimed.agents} == {
        "dev": "amd64",
        "back0": "arm64",
        "back1": "arm64",
    }
    assert {
        agent.name: (agent.env, [app.slug for app in agent.apps], len(agent.scripts))
        for agent in life.claimed.agents
    } == {
        "dev": ({"PATH_MORE": "/opt/tools-front"}, ["tools-front"], 1),
        "back0": ({"PATH_MORE": "/opt/tools-back0"}, ["tools-back0"], 1),
        "back1": ({"PATH_MORE": "/opt/tools-back1"}, ["tools-back1"], 1),
    }
    homes = {each.address: each.agent_names for each in life.claimed.resources if each.agent_names}
    assert homes == {
        "module.front.cloud_server.vm[0]": ("dev",),
        "module.back[0].cloud_server.vm[0]": ("back0",),
        "module.back[1].cloud_server.vm[0]": ("back1",),
    }


async def test_a_rendered_file_and_the_rarer_things(tmp_path: Path) -> None:
    life = await live_through("machine", tmp_path)
    assert life.providers == ["example/cloud", "hashicorp/cloudinit"]
    assert [agent.name for agent in life.claimed.agents] == ["dev", "outside"]
    kinds = {each.type for each in life.tfstates["claim"].managed}
    assert kinds == {
        "cloud_server",
        "coder_agent",
        "coder_agent_instance",
        "coder_app",
        "coder_devcontainer",
        "coder_external_agent",
    }
    (server,) = [each for each in life.tfstates["claim"].managed if each.type == "cloud_server"]
    interfaces = server.attributes["interface"]
    assert [each["subnet"] for each in interfaces] == ["a", "b"]  # type: ignore[index]


async def test_a_machine_that_is_stopped_with_its_workspace(tmp_path: Path) -> None:
    life = await live_through("aws", tmp_path)
    assert life.providers == ["hashicorp/aws"]
    machines = {
        step: next(each for each in tfstate.managed if each.type == "aws_instance")
        for step, tfstate in life.tfstates.items()
        if step != "delete"
    }
    # the same machine all along, with its owner's name on it
    assert len({str(each.attributes["id"]) for each in machines.values()}) == 1
    tags = {step: str(each.attributes["tags"]) for step, each in machines.items()}
    assert [who in tags["create"] for who in ("'prebuilds'", "'grace'")] == [True, False]
    assert [who in tags["claim"] for who in ("'prebuilds'", "'grace'")] == [False, True]
    wanted = {
        step: next(each for each in tfstate.managed if each.type == "aws_ec2_instance_state")
        for step, tfstate in life.tfstates.items()
        if step != "delete"
    }
    stopped = [step for step, each in wanted.items() if "stopped" in str(each.attributes["state"])]
    assert stopped == ["stop"]
    homes = {each.address: each.agent_names for each in life.claimed.resources if each.agent_names}
    assert homes == {"aws_instance.machine": ("main",)}
