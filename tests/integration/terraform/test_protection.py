"""Real terraform, and what a template wishes for its claims."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from provisionerd.core.errors import ProvisionError, TemplateInvalid
from provisionerd.core.provisioner import (
    Build,
    BuildResult,
    Cancel,
    DryRun,
    Job,
    Level,
    Owner,
    Replacement,
    Stage,
    Transition,
)
from provisionerd.terraform import TerraformProvisioner, TerraformSettings, salvage_tfstate
from provisionerd.terraform.tfstate import read_tfstate
from testkit import builds

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
]

NEEDS = """terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
"""
HEAD = f"""{NEEDS}data "coder_workspace_owner" "me" {{}}
data "coder_workspace" "me" {{}}
resource "coder_agent" "main" {{
  os   = "linux"
  arch = "amd64"
  env  = {{ OWNER = data.coder_workspace_owner.me.name }}
}}
"""
VM = """resource "terraform_data" "vm" {
  input            = coder_agent.main.id
  triggers_replace = [data.coder_workspace_owner.me.name]
}
"""
CREATE = replace(
    builds.START, stage=Stage.CREATE, owner=replace(builds.START.owner, username="prebuilds")
)
CLAIM = replace(CREATE, stage=Stage.CLAIM, owner=Owner(id="6", username="grace"))
START = replace(CLAIM, stage=Stage.ORDINARY)


@dataclass(slots=True, kw_only=True)
class Workspace:
    """One workspace of one template."""

    directory: Path
    lines: list[tuple[Level, str]] = field(default_factory=list[tuple[Level, str]])
    tfstate: bytes | None = None
    jobs_count: int = 0

    def write(self, hcl: str, policy: str = "") -> None:
        template = self.directory / "template"
        template.mkdir(exist_ok=True)
        (template / "main.tf").write_text(hcl)
        if policy:
            (template / "warmpool.toml").write_text(f'[claims]\nreplacements = "{policy}"\n')

    async def build(self, build: Build) -> BuildResult:
        return await self._provisioner.build(self._job(), build)

    async def rehearse(self, build: Build) -> tuple[Replacement, ...]:
        return await self._provisioner.rehearse(self._job(), build)

    async def dry_run(self) -> DryRun:
        return await self._provisioner.dry_run(self._job(), {})

    async def check(self) -> None:
        await self._provisioner.import_template(self._job())

    @property
    def vm(self) -> str:
        """The id of the machine: another one after a replacement."""
        (vm,) = [each for each in read_tfstate(self.tfstate).managed if each.name == "vm"]
        return str(vm.attributes["id"])

    @property
    def work_dir(self) -> Path:
        """The directory of the last job."""
        return self.directory / f"job-{self.jobs_count}"

    @property
    def _provisioner(self) -> TerraformProvisioner:
        settings = TerraformSettings(cache_dir=self.directory / "cache")
        return TerraformProvisioner(settings, environment=dict(os.environ))

    def _job(self) -> Job:
        self.jobs_count += 1
        self.work_dir.mkdir(mode=0o700)
        return Job(
            job_id=str(self.jobs_count),
            template_dir=self.directory / "template",
            work_dir=self.work_dir,
            log=self._log,
            cancel=Cancel(),
            state=self.tfstate,
            keep_state=self._keep,
        )

    def _log(self, level: Level, stage: str, text: str) -> None:
        self.lines.append((level, text))

    async def _keep(self, tfstate: bytes) -> None:
        self.tfstate = tfstate


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(directory=tmp_path)


async def test_a_claim_that_must_not_replace_changes_nothing(workspace: Workspace) -> None:
    workspace.write(HEAD + VM, "fail")
    await workspace.build(CREATE)
    before = workspace.tfstate
    with pytest.raises(ProvisionError) as refused:
        await workspace.build(CLAIM)
    assert refused.value.message == (
        "the claim would replace terraform_data.vm, which the template's warmpool.toml forbids;"
        " nothing was changed"
    )
    assert workspace.tfstate == before


async def test_a_claim_that_may_not_replace_and_does_not_is_carried_out(
    workspace: Workspace,
) -> None:
    workspace.write(HEAD + VM.replace(".me.name", ".me.login_type"), "fail")
    created = await workspace.build(CREATE)
    vm = workspace.vm
    claimed = await workspace.build(CLAIM)
    assert (workspace.vm, claimed.replacements) == (vm, ())
    assert [agent.env["OWNER"] for agent in (*created.agents, *claimed.agents)] == [
        "prebuilds",
        "grace",
    ]
    assert created.agents[0].token == claimed.agents[0].token


async def test_a_protected_resource_outlives_the_claim_and_every_start_after_it(
    workspace: Workspace,
) -> None:
    workspace.write(HEAD + VM, "protect")
    await workspace.build(CREATE)
    vm = workspace.vm
    # WHEN it is claimed, and started again
    claimed = await workspace.build(CLAIM)
    assert (workspace.vm, claimed.replacements) == (vm, ())
    assert claimed.agents[0].env["OWNER"] == "grace"
    said = "terraform_data.vm: the claim would replace it; its changes are ignored"
    assert workspace.lines.count((Level.WARN, said)) == 1
    for _ in range(2):
        await workspace.build(START)
        assert workspace.vm == vm
    # THEN what is left of a worker that died in the middle still knows of it
    salvaged = salvage_tfstate(workspace.work_dir)
    assert salvaged is not None
    assert salvaged.startswith(b'{"warmpool_protected": ["terraform_data.vm"],')
    # AND a version that no longer has the resource is not held up by it
    workspace.write(HEAD)
    await workspace.build(START)
    assert workspace.tfstate is not None
    assert b"warmpool_protected" not in workspace.tfstate
    await workspace.build(replace(START, transition=Transition.DELETE))
    assert read_tfstate(workspace.tfstate).managed == ()


async def test_a_protected_resource_is_remembered_when_nothing_else_changes(
    workspace: Workspace,
) -> None:
    workspace.write(
        NEEDS + 'data "coder_workspace_owner" "me" {}\n' + VM.replace("coder_agent.main.id", '"x"'),
        "protect",
    )
    await workspace.build(CREATE)
    vm = workspace.vm
    await workspace.build(CLAIM)
    await workspace.build(START)
    assert workspace.vm == vm


async def test_authors_own_ignored_changes_stay_in_force(workspace: Workspace) -> None:
    lifecycle = "  lifecycle {\n    ignore_changes = [input]\n  }\n}\n"
    vm = VM.replace("coder_agent.main.id", "data.coder_workspace_owner.me.id")
    workspace.write(HEAD + vm.removesuffix("}\n") + lifecycle, "protect")
    await workspace.build(CREATE)
    before = workspace.vm
    await workspace.build(CLAIM)
    (kept,) = [each for each in read_tfstate(workspace.tfstate).managed if each.name == "vm"]
    assert kept.attributes["input"] == {"type": "string", "value": CREATE.owner.id}
    assert workspace.vm == before


async def test_what_cannot_be_protected_is_reported(workspace: Workspace) -> None:
    workspace.write(HEAD + 'module "inner" {\n  source = "./inner"\n}\n', "protect")
    inner = workspace.directory / "template" / "inner"
    inner.mkdir()
    (inner / "main.tf").write_text(
        NEEDS + 'data "coder_workspace_owner" "me" {}\n' + VM.replace("coder_agent.main.id", '"x"')
    )
    await workspace.build(CREATE)
    claimed = await workspace.build(CLAIM)
    assert claimed.replacements == (
        Replacement(address="module.inner.terraform_data.vm", paths=("triggers_replace",)),
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("allow", (Replacement(address="terraform_data.vm", paths=("triggers_replace",)),)),
        ("fail", (Replacement(address="terraform_data.vm", paths=("triggers_replace",)),)),
        ("protect", ()),
    ],
)
async def test_a_rehearsal_says_what_a_claim_would_replace_and_changes_nothing(
    workspace: Workspace, policy: str, expected: tuple[Replacement, ...]
) -> None:
    workspace.write(HEAD + VM, policy)
    await workspace.build(CREATE)
    before = workspace.tfstate
    assert await workspace.rehearse(CLAIM) == expected
    assert workspace.tfstate == before
    warning = "terraform_data.vm: a claim would replace it, because of: triggers_replace"
    assert workspace.lines.count((Level.WARN, warning)) == len(expected)


async def test_a_dry_run_says_what_depends_on_the_owner_and_changes_nothing(
    workspace: Workspace,
) -> None:
    theirs = """resource "terraform_data" "home" {
  count = data.coder_workspace.me.prebuild_count == 1 ? 0 : 1
}
resource "terraform_data" "disk" {
  input = data.coder_workspace.me.start_count
}
"""
    workspace.write(HEAD + VM + theirs)
    found = await workspace.dry_run()
    assert set(found.resources) == {
        "coder_agent.main",
        "terraform_data.vm",
        "terraform_data.home[0]",
        "terraform_data.disk",
    }
    assert set(found.owner_dependent) == {
        Replacement(address="terraform_data.vm", paths=("triggers_replace",)),
        Replacement(address="terraform_data.home[0]", paths=()),
    }
    assert (
        Level.WARN,
        "terraform_data.vm: depends on its owner: triggers_replace",
    ) in workspace.lines
    assert workspace.tfstate is None


async def test_a_template_that_cannot_be_planned_for_the_pool_says_so(
    workspace: Workspace,
) -> None:
    refuses = """resource "terraform_data" "vm" {
  lifecycle {
    precondition {
      condition     = data.coder_workspace_owner.me.name != "prebuilds"
      error_message = "not for the pool"
    }
  }
}
"""
    workspace.write(HEAD + refuses)
    assert (await workspace.dry_run()).owner_dependent == ()
    (said,) = [text for level, text in workspace.lines if level is Level.WARN]
    assert said.startswith("For a prebuild it cannot be planned: ")
    assert "not for the pool" in said


async def test_a_rehearsal_of_a_good_template_finds_nothing(workspace: Workspace) -> None:
    workspace.write(HEAD)
    await workspace.build(CREATE)
    assert await workspace.rehearse(CLAIM) == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            '[claims]\nreplacements = "never"\n',
            "warmpool.toml: claims.replacements: 'never' is none of allow, fail, protect",
        ),
        (
            '[claim]\nreplacements = "fail"\n',
            "warmpool.toml: claim: unknown; a Terraform template may set claims.replacements",
        ),
        (
            "[claims]\nreplacement = 1\n",
            "warmpool.toml: claims.replacement: unknown; a Terraform template may set"
            " claims.replacements",
        ),
        ("[claims\n", "warmpool.toml: Expected ']' at the end of a table declaration"),
    ],
)
async def test_a_wish_nobody_understands_is_refused_at_import(
    workspace: Workspace, text: str, complaint: str
) -> None:
    workspace.write(HEAD)
    (workspace.directory / "template" / "warmpool.toml").write_text(text)
    with pytest.raises(TemplateInvalid) as refused:
        await workspace.check()
    assert refused.value.message.startswith(complaint)
