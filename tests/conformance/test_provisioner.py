"""One suite over every provisioner.

A provisioner joins by adding to `HARNESSES` a function that prepares, in a directory of its own, a
`Harness`: the provisioner and two templates, both of which start their agent with the command in
`WARMPOOL_AGENT_COMMAND` and hand it CODER_AGENT_TOKEN.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from provisionerd.core.errors import ProvisionCanceled, TemplateInvalid
from provisionerd.core.provisioner import (
    Build,
    BuildResult,
    Cancel,
    Job,
    Level,
    Owner,
    Provisioner,
    Stage,
    Transition,
)
from provisionerd.process import ProcessProvisioner, ProcessSettings
from provisionerd.terraform import TerraformProvisioner, TerraformSettings
from testkit.builds import START
from testkit.fake_agents import FakeAgents, fake_agents

pytestmark = pytest.mark.conformance

POOL = Owner(id="00000000-0000-0000-0000-00000000aaaa", username="pool")
ADA = Owner(
    id="00000000-0000-0000-0000-00000000bbbb",
    username="ada",
    full_name="Ada Lovelace",
    email="ada@example.com",
    groups=("engineers",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """What the suite needs of a provisioner.

    `template` has one preset "Standard" with a pool of 2 and an agent "main" that knows its owner:
    its `env` names the owner's username or full name somewhere. `endless_template` is one whose
    start never ends by itself: it runs the agent's command in the foreground of the build.
    """

    provisioner: Provisioner
    template: Path
    endless_template: Path


ENDLESS_TF = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
resource "terraform_data" "first" {}
resource "terraform_data" "endless" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command     = "$WARMPOOL_AGENT_COMMAND; true"
    environment = { CODER_AGENT_TOKEN = coder_agent.main.token }
  }
}
"""


def _terraform(directory: Path, agent_command: str) -> Harness:
    endless = directory / "endless"
    endless.mkdir()
    (endless / "main.tf").write_text(ENDLESS_TF)
    return Harness(
        provisioner=TerraformProvisioner(
            TerraformSettings(cache_dir=directory / "cache"),
            environment={
                **os.environ,
                "WARMPOOL_AGENT_COMMAND": agent_command,
                "WARMPOOL_WORKSPACES_DIR": str(directory / "workspaces"),
            },
        ),
        template=Path(__file__).parents[2] / "examples" / "terraform",
        endless_template=endless,
    )


ENDLESS_TOML = """
[workspace]
setup = "$WARMPOOL_AGENT_COMMAND; true"
[[agents]]
name = "main"
"""


def _process(directory: Path, agent_command: str) -> Harness:
    endless = directory / "endless"
    endless.mkdir()
    (endless / "warmpool.toml").write_text(ENDLESS_TOML)
    return Harness(
        provisioner=ProcessProvisioner(
            ProcessSettings(workspaces_dir=directory / "workspaces"),
            environment={**os.environ, "WARMPOOL_AGENT_COMMAND": agent_command},
        ),
        template=Path(__file__).parents[2] / "examples" / "process",
        endless_template=endless,
    )


HARNESSES: dict[str, Callable[[Path, str], Harness]] = {
    "process": _process,
    "terraform": _terraform,
}
# what a provisioner needs of the machine
MARKS: dict[str, tuple[pytest.MarkDecorator, ...]] = {"terraform": (pytest.mark.terraform,)}


@dataclass(slots=True, kw_only=True)
class Lab:
    """One workspace and everything said and kept while it is built."""

    harness: Harness
    agents: FakeAgents
    directory: Path
    tfstate: bytes | None = None
    lines: list[str] = field(default_factory=list[str])
    kept: list[bytes] = field(default_factory=list[bytes])
    cancel: Cancel = field(default_factory=Cancel)
    jobs_count: int = 0

    def job(self, template: Path | None = None) -> Job:
        """The surroundings of the next call."""
        self.jobs_count += 1
        work_dir = self.directory / f"job-{self.jobs_count}"
        work_dir.mkdir(mode=0o700)
        return Job(
            job_id=f"job-{self.jobs_count}",
            template_dir=template or self.harness.template,
            work_dir=work_dir,
            log=self._log,
            cancel=self.cancel,
            state=self.tfstate,
            keep_state=self._keep,
        )

    async def build(
        self,
        transition: Transition,
        *,
        stage: Stage = Stage.ORDINARY,
        owner: Owner = POOL,
        template: Path | None = None,
    ) -> BuildResult:
        """Builds the workspace from the tfstate the last build left."""
        job = self.job(template)
        result = await self.harness.provisioner.build(job, a_build(transition, stage, owner))
        shutil.rmtree(job.work_dir)
        return result

    def _log(self, level: Level, stage: str, text: str) -> None:
        self.lines.append(f"{level.value} {stage} {text}")

    async def _keep(self, tfstate: bytes) -> None:
        self.tfstate = tfstate
        self.kept.append(tfstate)


def a_build(transition: Transition, stage: Stage, owner: Owner) -> Build:
    return replace(
        START,
        workspace_name="pool-1" if owner is POOL else "adas",
        transition=transition,
        stage=stage,
        owner=owner,
    )


@pytest.fixture(
    params=[pytest.param(name, marks=MARKS.get(name, ())) for name in sorted(HARNESSES)]
)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Lab]:
    async with fake_agents(str(tmp_path)) as agents:
        harness = HARNESSES[request.param](tmp_path, agents.command)
        assert harness.provisioner.type == request.param
        yield Lab(harness=harness, agents=agents, directory=tmp_path)


async def test_import_lists_the_preset_and_its_pool(lab: Lab) -> None:
    result = await lab.harness.provisioner.import_template(lab.job())
    (preset,) = result.presets
    assert (preset.name, preset.prebuilds and preset.prebuilds.instances) == ("Standard", 2)
    assert result.agent_names == ("main",)
    assert preset.parameters.keys() <= {parameter.name for parameter in result.parameters}
    assert lab.agents.all == []
    assert lab.kept == []


async def test_a_dry_run_changes_nothing(lab: Lab) -> None:
    found = await lab.harness.provisioner.dry_run(lab.job(), {})
    assert found.resources
    assert lab.agents.all == []
    assert lab.kept == []


async def test_a_workspace_lives_from_creation_through_its_claim_to_its_end(lab: Lab) -> None:
    # WHEN the pool creates it
    created = await lab.build(Transition.START, stage=Stage.CREATE)
    running = await lab.agents.arrival()
    # THEN its agent runs with the token the result names
    (agent,) = created.agents
    assert (agent.name, agent.token) == ("main", running.env["CODER_AGENT_TOKEN"])
    assert created.replacements == ()
    assert lab.tfstate is not None

    # WHEN it is claimed
    claimed = await lab.build(Transition.START, stage=Stage.CLAIM, owner=ADA)
    # THEN the agent keeps id, token and process, and knows its owner
    (kept,) = claimed.agents
    assert (kept.id, kept.token) == (agent.id, agent.token)
    assert claimed.replacements == ()
    assert lab.agents.present == (running,)
    assert any(ADA.username in value or ADA.full_name in value for value in kept.env.values())

    # WHEN it is stopped and started THEN its agent goes, and another comes
    await lab.build(Transition.STOP, owner=ADA)
    await lab.agents.departure(running)
    restarted = await lab.build(Transition.START, owner=ADA)
    again = await lab.agents.arrival()
    assert again.env["CODER_AGENT_TOKEN"] == restarted.agents[0].token

    # WHEN it is deleted, twice THEN its agent goes and nothing is left to delete
    assert await lab.build(Transition.DELETE, owner=ADA) == BuildResult()
    await lab.agents.departure(again)
    assert await lab.build(Transition.DELETE, owner=ADA) == BuildResult()

    # AND no secret was ever logged
    tokens = {agent.token, restarted.agents[0].token}
    assert [line for line in lab.lines if any(token in line for token in tokens)] == []
    assert lab.lines


async def test_a_start_that_is_repeated_converges(lab: Lab) -> None:
    first = await lab.build(Transition.START)
    await lab.agents.arrival()
    second = await lab.build(Transition.START)
    assert [agent.id for agent in first.agents] == [agent.id for agent in second.agents]
    # either the process was kept, or it was replaced by one that has the newer token
    (present,) = lab.agents.present[-1:]
    if present.env["CODER_AGENT_TOKEN"] != second.agents[0].token:
        present = await lab.agents.arrival()
    assert present.env["CODER_AGENT_TOKEN"] == second.agents[0].token
    await lab.build(Transition.DELETE)
    await lab.agents.departure(present)


async def test_a_delete_without_tfstate_succeeds(lab: Lab) -> None:
    assert await lab.build(Transition.DELETE) == BuildResult()


@pytest.mark.parametrize("how", ["graceful", "forced", "task"])
async def test_a_build_that_is_cancelled_leaves_no_process(lab: Lab, how: str) -> None:
    job = lab.job(lab.harness.endless_template)
    build = a_build(Transition.START, Stage.CREATE, POOL)

    async def run() -> str:
        try:
            await lab.harness.provisioner.build(job, build)
        except ProvisionCanceled:
            return "canceled"
        except asyncio.CancelledError:
            return "task"
        return "ended"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        running = await lab.agents.arrival()
        match how:
            case "graceful":
                lab.cancel.graceful.set()
            case "forced":
                lab.cancel.forced.set()
            case _:
                task.cancel()
        await lab.agents.departure(running)
    assert task.result() == ("task" if how == "task" else "canceled")

    # AND what was made by then can be deleted
    lab.cancel = Cancel()
    shutil.rmtree(job.work_dir)
    assert (
        await lab.build(Transition.DELETE, template=lab.harness.endless_template) == BuildResult()
    )
    assert lab.agents.present == ()


async def test_a_job_that_is_cancelled_already_starts_nothing(lab: Lab) -> None:
    lab.cancel.graceful.set()
    job = lab.job(lab.harness.endless_template)
    with pytest.raises(ProvisionCanceled):
        await lab.harness.provisioner.build(job, a_build(Transition.START, Stage.CREATE, POOL))
    assert lab.agents.all == []


async def test_a_template_is_left_as_it_was(lab: Lab) -> None:
    template = lab.directory / "template"
    shutil.copytree(lab.harness.template, template)
    before = {path: path.read_bytes() for path in template.rglob("*") if path.is_file()}
    await lab.harness.provisioner.import_template(lab.job(template))
    await lab.build(Transition.START, template=template)
    running = await lab.agents.arrival()
    await lab.build(Transition.DELETE, template=template)
    await lab.agents.departure(running)
    assert before == {path: path.read_bytes() for path in template.rglob("*") if path.is_file()}


async def test_an_empty_template_is_the_templates_fault(lab: Lab) -> None:
    empty = lab.directory / "empty"
    empty.mkdir()
    with pytest.raises(TemplateInvalid):
        await lab.harness.provisioner.import_template(lab.job(empty))
