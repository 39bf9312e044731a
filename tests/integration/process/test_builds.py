"""Workspaces as processes: what survives a crash, and that nothing survives a delete."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from provisionerd.core.errors import ProvisionError
from provisionerd.core.provisioner import (
    Build,
    BuildResult,
    Cancel,
    Job,
    Level,
    Owner,
    Resource,
    Stage,
    Transition,
)
from provisionerd.process import ProcessProvisioner, ProcessSettings
from provisionerd.process.host import mark_of
from testkit import builds
from testkit.eventually import eventually
from testkit.fake_agents import ArrivedAgent, FakeAgents, fake_agents

pytestmark = pytest.mark.integration

WORKSPACE_ID = "00000000-0000-0000-0000-000000000002"
BUILD = replace(
    builds.START,
    workspace_name="adas",
    owner=Owner(id="00000000-0000-0000-0000-00000000bbbb", username="ada"),
    access_url="http://127.0.0.1:7443",
)
START, STOP, DELETE = (replace(BUILD, transition=each) for each in Transition)
TEMPLATE = """
[workspace]
setup = "echo setting up {workspace.name} >> journal"
[[agents]]
name = "main"
"""


@dataclass(slots=True, kw_only=True)
class Lab:
    """One workspace; `environment` is the provisioner's own."""

    agents: FakeAgents
    directory: Path
    environment: dict[str, str]
    tfstate: bytes | None = None
    kept: list[bytes] = field(default_factory=list[bytes])
    lines: list[str] = field(default_factory=list[str])
    cancel: Cancel = field(default_factory=Cancel)

    @property
    def home(self) -> Path:
        return self.directory / "workspaces" / WORKSPACE_ID / "home"

    async def build(self, build: Build, template: str = TEMPLATE) -> BuildResult:
        template_dir = self.directory / "template"
        template_dir.mkdir(exist_ok=True)
        (template_dir / "warmpool.toml").write_text(template)
        job = Job(
            job_id="job",
            template_dir=template_dir,
            work_dir=self.directory,
            log=self._log,
            cancel=self.cancel,
            state=self.tfstate,
            keep_state=self._keep,
        )
        settings = ProcessSettings(
            workspaces_dir=self.directory / "workspaces",
            stop_grace_seconds=10,
            sweep_grace_seconds=0.3,
        )
        provisioner = ProcessProvisioner(settings, environment=self.environment)
        return await provisioner.build(job, build)

    def _log(self, level: Level, stage: str, text: str) -> None:
        self.lines.append(f"{level.value} {stage} {text}")

    async def _keep(self, tfstate: bytes) -> None:
        self.tfstate = tfstate
        self.kept.append(tfstate)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncGenerator[Lab]:
    async with fake_agents(str(tmp_path)) as agents:
        environment = {
            "PATH": os.environ["PATH"],
            "WARMPOOL_AGENT_COMMAND": agents.command,
            "WARMPOOL_INSTANCE": "an-instance",
            "WARMPOOL_PROVISIONERD_KEY": "a secret of ours",
        }
        lab = Lab(agents=agents, directory=tmp_path, environment=environment)
        yield lab
        lab.cancel = Cancel()
        await lab.build(DELETE)


async def test_an_agent_is_told_who_it_is_and_none_of_our_secrets(lab: Lab) -> None:
    result = await lab.build(START)
    agent = await lab.agents.arrival()
    root = lab.home.parent
    assert {name: agent.env[name] for name in agent.env if name not in ("PATH", "LC_CTYPE")} == {
        "CODER_AGENT_URL": "http://127.0.0.1:7443",
        "CODER_AGENT_TOKEN": result.agents[0].token,
        "WARMPOOL_AGENT_DIR": str(root / "agents" / "main"),
        "WARMPOOL_AGENT_ID": result.agents[0].id,
        "WARMPOOL_WORKSPACE_DIR": str(root),
        "WARMPOOL_INSTANCE": "an-instance",
        "WARMPOOL_AGENT_COMMAND": lab.agents.command,
        "HOME": str(lab.home),
    }
    assert agent.directory == str(lab.home)
    assert os.getsid(agent.pid) == agent.pid
    assert root.stat().st_mode & 0o777 == 0o700
    assert result.resources == (
        Resource(address="directory.workspace", type="directory"),
        Resource(address="process.main", type="process", agent_names=("main",)),
    )


async def test_a_build_that_crashed_finds_the_agent_it_started(lab: Lab) -> None:
    # GIVEN a build that started the agent and crashed before it wrote its process down
    first = await lab.build(START)
    running = await lab.agents.arrival()
    before_start, *_ = lab.kept
    lab.tfstate = before_start
    # WHEN it is repeated THEN the agent is left alone, and the setup is not run again
    second = await lab.build(START)
    assert second == first
    assert lab.agents.present == (running,)
    assert (lab.home / "journal").read_text() == "setting up adas\n"


async def test_an_agent_that_ended_comes_back_as_the_same_one(lab: Lab) -> None:
    first = await lab.build(START)
    running = await lab.agents.arrival()
    await terminate(running)
    second = await lab.build(replace(START, stage=Stage.CLAIM))
    again = await lab.agents.arrival()
    assert second.agents == first.agents
    assert again.env["CODER_AGENT_TOKEN"] == running.env["CODER_AGENT_TOKEN"]
    assert "warn build Agents that had ended are started again: main." in lab.lines


async def test_another_gateway_address_moves_the_agent_but_never_at_a_claim(lab: Lab) -> None:
    await lab.build(START)
    running = await lab.agents.arrival()
    moved = replace(START, access_url="http://127.0.0.1:9999")
    await lab.build(replace(moved, stage=Stage.CLAIM))
    assert lab.agents.present == (running,)
    await lab.build(moved)
    await lab.agents.departure(running)
    again = await lab.agents.arrival()
    assert again.env["CODER_AGENT_URL"] == "http://127.0.0.1:9999"


async def test_an_agent_the_template_dropped_ends(lab: Lab) -> None:
    await lab.build(START, TEMPLATE + '[[agents]]\nname = "second"\n')
    arrived = [await lab.agents.arrival(), await lab.agents.arrival()]
    (second,) = [each for each in arrived if each.env["WARMPOOL_AGENT_DIR"].endswith("second")]
    result = await lab.build(START)
    await lab.agents.departure(second)
    assert [agent.name for agent in result.agents] == ["main"]
    assert len(lab.agents.present) == 1


async def test_a_stop_ends_what_left_its_session_and_keeps_the_directory(lab: Lab) -> None:
    await lab.build(START)
    agent = await lab.agents.arrival()
    stray = await start_stray(lab, agent)
    first_token = agent.env["CODER_AGENT_TOKEN"]
    assert await lab.build(STOP) == BuildResult(
        resources=(Resource(address="directory.workspace", type="directory"),)
    )
    await lab.agents.departure(agent)
    await lab.agents.departure(stray)
    assert (lab.home / "journal").exists()
    await lab.build(START)
    again = await lab.agents.arrival()
    assert again.env["CODER_AGENT_TOKEN"] != first_token
    assert (lab.home / "journal").read_text() == "setting up adas\n" * 2


async def test_a_delete_whose_tfstate_was_lost_still_ends_everything(lab: Lab) -> None:
    await lab.build(START)
    agent = await lab.agents.arrival()
    lab.tfstate = None
    assert await lab.build(DELETE) == BuildResult()
    await lab.agents.departure(agent)
    assert not lab.home.parent.exists()


async def test_a_process_that_got_the_agents_number_is_not_touched(lab: Lab) -> None:
    await lab.build(START)
    agent = await lab.agents.arrival()
    await terminate(agent)
    # GIVEN a tfstate and a note that name a process which is somebody else's: this test
    assert lab.tfstate is not None
    lab.tfstate = lab.tfstate.replace(b'"pid": %d' % agent.pid, b'"pid": %d' % os.getpid())
    (lab.home.parent / "agents/main/agent.pid").write_text(f"{os.getpid()}\n")
    # WHEN it is stopped THEN we are still here
    await lab.build(STOP)


@pytest.mark.parametrize(
    ("setup", "complaint"),
    [
        ("echo said; exit 3", "the setup ended with 3; the log says why"),
        ("echo said; sleep 60", "the setup took more than 1 s and was ended"),
    ],
)
async def test_a_setup_that_fails_fails_the_build(lab: Lab, setup: str, complaint: str) -> None:
    template = f'[workspace]\nsetup = "{setup}"\nsetup_timeout = 1\n[[agents]]\nname = "main"\n'
    with pytest.raises(ProvisionError, match=complaint):
        await lab.build(START, template)
    assert "info setup said" in lab.lines
    assert lab.agents.all == []


async def test_a_command_that_does_not_exist_is_named(lab: Lab) -> None:
    lab.environment["WARMPOOL_AGENT_COMMAND"] = "no-such-agent --flag"
    with pytest.raises(ProvisionError, match="'no-such-agent' could not be run: No such file"):
        await lab.build(START)


async def test_an_id_that_is_a_path_is_refused(lab: Lab) -> None:
    with pytest.raises(ProvisionError, match=r"workspace id is '\.\./x'; it must be a UUID"):
        await lab.build(replace(DELETE, workspace_id="../x"))


async def terminate(agent: ArrivedAgent) -> None:
    """Ends an agent and waits until its process is gone, not only its connection."""
    os.kill(agent.pid, signal.SIGKILL)

    def check() -> None:
        assert not mark_of(agent.pid)

    await eventually(check)


async def start_stray(lab: Lab, agent: ArrivedAgent) -> ArrivedAgent:
    """Something a script left: in a session of its own, deaf to SIGTERM, with no parent."""
    program, port = lab.agents.command.split()[-2:]
    deaf = lab.directory / "deaf.py"
    deaf.write_text(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork() and os._exit(0)\n"
        "os.setsid()\n"
        "os.execv(sys.executable, [sys.executable, '-S', *sys.argv[1:]])\n"
    )
    started = await asyncio.create_subprocess_exec(
        sys.executable, str(deaf), program, port, env=agent.env
    )
    await started.wait()
    return await lab.agents.arrival()
