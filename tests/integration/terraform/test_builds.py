"""Real terraform on small templates: what the shared suite does not ask of every provisioner."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from provisionerd.core.errors import (
    ParameterInvalid,
    ProvisionCanceled,
    ProvisionError,
    TemplateInvalid,
)
from provisionerd.core.provisioner import (
    Build,
    BuildResult,
    Cancel,
    Job,
    Level,
    Owner,
    Replacement,
    Resource,
    Stage,
    Transition,
)
from provisionerd.terraform import (
    TerraformMissing,
    TerraformProvisioner,
    TerraformSettings,
    find_terraform,
)
from provisionerd.terraform.mask import MASK
from provisionerd.terraform.tfstate import read_tfstate
from testkit.builds import START

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
]

HEAD = """terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}
"""
AGENT = """resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
"""


@dataclass(slots=True, kw_only=True)
class Lab:
    """One template and everything said and kept while it is used."""

    directory: Path
    settings: TerraformSettings
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    lines: list[tuple[Level, str, str]] = field(default_factory=list[tuple[Level, str, str]])
    kept: list[bytes] = field(default_factory=list[bytes])
    has_kept: asyncio.Event = field(default_factory=asyncio.Event)
    has_spoken: asyncio.Event = field(default_factory=asyncio.Event)
    jobs_count: int = 0

    @property
    def provisioner(self) -> TerraformProvisioner:
        return TerraformProvisioner(self.settings, environment=self.environment)

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.lines]

    def write(self, hcl: str, name: str = "main.tf") -> None:
        file = self.directory / "template" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(hcl)

    def job(self) -> Job:
        self.jobs_count += 1
        work_dir = self.directory / f"job-{self.jobs_count}"
        work_dir.mkdir(mode=0o700)
        return Job(
            job_id=str(self.jobs_count),
            template_dir=self.directory / "template",
            work_dir=work_dir,
            log=self._log,
            cancel=Cancel(),
            state=self.kept[-1] if self.kept else None,
            keep_state=self._keep,
        )

    async def build(self, build: Build = START) -> BuildResult:
        return await self.provisioner.build(self.job(), build)

    async def says(self, needle: str) -> None:
        """Returns when a log line has the needle in it."""
        while not any(needle in text for text in self.texts):
            self.has_spoken.clear()
            await self.has_spoken.wait()

    def _log(self, level: Level, stage: str, text: str) -> None:
        self.lines.append((level, stage, text))
        self.has_spoken.set()

    async def _keep(self, tfstate: bytes) -> None:
        self.kept.append(tfstate)
        self.has_kept.set()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(directory=tmp_path, settings=TerraformSettings(cache_dir=tmp_path / "cache"))


@asynccontextmanager
async def build_under_way(lab: Lab, job: Job) -> AsyncGenerator[asyncio.Task[None]]:
    """A build that is expected to end as canceled."""

    async def run() -> None:
        with pytest.raises(ProvisionCanceled):
            await lab.provisioner.build(job, START)

    async with asyncio.TaskGroup() as group:
        yield group.create_task(run())


def resources_kept(lab: Lab) -> list[str]:
    return [instance.address for instance in read_tfstate(lab.kept[-1]).managed]


async def test_a_template_with_an_error_gives_one_line_that_says_where(lab: Lab) -> None:
    lab.write(HEAD + 'resource "terraform_data" "x" {\n  bogus = 1\n}\n')
    with pytest.raises(TemplateInvalid) as caught:
        await lab.provisioner.import_template(lab.job())
    assert caught.value.message == (
        'main.tf:9: Unsupported argument: An argument named "bogus" is not expected here.'
    )
    assert (Level.ERROR, "plan", "Error: Unsupported argument (main.tf:9)") in lab.lines


async def test_a_syntax_error_says_where(lab: Lab) -> None:
    lab.write("resource terraform_data {{\n")
    with pytest.raises(TemplateInvalid, match=r"^main\.tf:1: "):
        await lab.provisioner.import_template(lab.job())


async def test_a_value_that_is_not_allowed_is_its_givers_fault(lab: Lab) -> None:
    lab.write(
        HEAD
        + """data "coder_parameter" "cpus" {
  name    = "cpus"
  type    = "number"
  default = 2
  mutable = true
  validation {
    min = 1
    max = 8
  }
}
"""
        + AGENT
    )
    (parameter,) = (await lab.provisioner.import_template(lab.job())).parameters
    assert (parameter.name, parameter.type, parameter.default) == ("cpus", "number", "2")
    assert (parameter.minimum, parameter.maximum, parameter.mutable) == (1, 8, True)
    with pytest.raises(ParameterInvalid, match="cpus"):
        await lab.build(replace(START, parameters={"cpus": "99"}))


async def test_a_failed_build_keeps_what_it_made_and_deleting_removes_it(lab: Lab) -> None:
    marker = lab.directory / "made"
    lab.write(
        HEAD
        + f"""resource "terraform_data" "first" {{
  input = "{marker}"
  provisioner "local-exec" {{
    command = "touch ${{self.output}}"
  }}
  provisioner "local-exec" {{
    when    = destroy
    command = "rm ${{self.output}}"
  }}
}}
resource "terraform_data" "second" {{
  depends_on = [terraform_data.first]
  provisioner "local-exec" {{
    command = "echo on purpose; exit 3"
  }}
}}
"""
    )
    with pytest.raises(ProvisionError) as caught:
        await lab.build()
    assert caught.value.message.splitlines()[0].startswith("main.tf:20: terraform_data.second: ")
    assert not caught.value.retryable
    assert resources_kept(lab) == ["terraform_data.first", "terraform_data.second"]
    assert marker.exists()
    await lab.build(replace(START, transition=Transition.DELETE))
    assert resources_kept(lab) == []
    assert not marker.exists()


SLOW = (
    HEAD
    + """resource "terraform_data" "first" {}
resource "terraform_data" "endless" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "echo on my way; exec sleep 600"
  }
}
"""
)


async def test_the_tfstate_is_kept_while_terraform_still_runs(lab: Lab) -> None:
    lab.settings = replace(lab.settings, tfstate_keep_seconds=0.02)
    lab.write(SLOW)
    job = lab.job()
    async with build_under_way(lab, job):
        await lab.has_kept.wait()
        assert "terraform_data.first" in resources_kept(lab)
        await lab.says("on my way")
        job.cancel.graceful.set()
    assert resources_kept(lab) == ["terraform_data.endless", "terraform_data.first"]


async def test_a_forced_cancel_keeps_what_was_finished(lab: Lab) -> None:
    lab.settings = replace(lab.settings, tfstate_keep_seconds=0.02)
    lab.write(SLOW)
    job = lab.job()
    async with build_under_way(lab, job):
        await lab.has_kept.wait()
        job.cancel.forced.set()
    assert "terraform_data.first" in resources_kept(lab)


async def test_a_build_that_takes_too_long_is_stopped_and_says_so(lab: Lab) -> None:
    lab.settings = replace(lab.settings, apply_timeout_seconds=5.0)
    lab.write(SLOW)
    with pytest.raises(ProvisionError, match="longer than allowed"):
        await lab.build()
    assert "terraform_data.first" in resources_kept(lab)


async def test_a_tfstate_store_that_fails_once_is_asked_again(lab: Lab) -> None:
    lab.settings = replace(lab.settings, tfstate_keep_seconds=0.02)
    lab.write(SLOW)
    job = lab.job()
    refusals = iter([ConnectionError("down")])

    async def keep(tfstate: bytes) -> None:
        for refusal in refusals:
            raise refusal
        await job.keep_state(tfstate)

    flaky = replace(job, keep_state=keep)
    async with build_under_way(lab, flaky):
        await lab.has_kept.wait()
        job.cancel.graceful.set()
    assert "the tfstate could not be stored yet: ConnectionError" in lab.texts
    assert "terraform_data.first" in resources_kept(lab)


async def test_a_secret_a_template_gives_away_is_hidden(lab: Lab) -> None:
    lab.environment["MY_TOKEN"] = "from-our-environment"
    lab.settings = replace(lab.settings, env_allowed=("MY_TOKEN",))
    lab.write(
        HEAD
        + AGENT
        + """resource "terraform_data" "leak" {
  provisioner "local-exec" {
    command = "echo fresh ${nonsensitive(coder_agent.main.token)}; echo ours $MY_TOKEN; exit 1"
  }
}
"""
    )
    with pytest.raises(ProvisionError) as caught:
        await lab.build()
    token = next(
        str(instance.attributes["token"])
        for instance in read_tfstate(lab.kept[-1]).managed
        if instance.type == "coder_agent"
    )
    said = [text for text in lab.texts if "(local-exec): " in text]
    assert any(text.endswith(f"fresh {MASK}") for text in said), said
    assert any(text.endswith(f"ours {MASK}") for text in said), said
    everything = "\n".join([*lab.texts, caught.value.message])
    assert token not in everything
    assert "from-our-environment" not in everything


async def test_a_templates_commands_see_only_what_is_allowed(lab: Lab) -> None:
    lab.environment |= {
        "WARMPOOL_INSTANCE": "this-one",
        "DATABASE_URL": "postgres://secret",
        "CODER_AGENT_TOKEN": "ours",
    }
    dump = lab.directory / "env"
    lab.write(
        HEAD
        + AGENT
        + f"""resource "terraform_data" "dump" {{
  depends_on = [coder_agent.main]
  provisioner "local-exec" {{
    command = "env > {dump}"
  }}
}}
"""
    )
    await lab.build()
    names = {line.partition("=")[0] for line in dump.read_text().splitlines()}
    assert "WARMPOOL_INSTANCE" in names
    assert {name for name in names if name.startswith("CODER_")} == set()
    assert "DATABASE_URL" not in names


async def test_a_claim_that_replaces_says_what_and_why(lab: Lab) -> None:
    lab.write(
        HEAD
        + AGENT
        + """resource "terraform_data" "vm" {
  input            = coder_agent.main.id
  triggers_replace = [data.coder_workspace_owner.me.name]
}
"""
    )
    created = await lab.build(replace(START, stage=Stage.CREATE))
    claimed = await lab.build(
        replace(
            START,
            stage=Stage.CLAIM,
            owner=Owner(id="00000000-0000-0000-0000-000000000006", username="grace"),
        )
    )
    assert created.replacements == ()
    assert claimed.replacements == (
        Replacement(address="terraform_data.vm", paths=("triggers_replace",)),
    )
    assert claimed.resources == (
        Resource(address="terraform_data.vm", type="terraform_data", agent_names=("main",)),
    )
    assert (
        Level.WARN,
        "apply",
        "terraform_data.vm: replaced at the claim; differs: triggers_replace",
    ) in lab.lines
    assert [a.token for a in claimed.agents] == [a.token for a in created.agents]


async def test_several_agents_in_modules_keep_their_tokens_at_a_claim(lab: Lab) -> None:
    lab.write(HEAD + 'module "vm" {\n  source = "./modules/vm"\n  count  = 1\n}\n')
    lab.write(
        """terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
data "coder_workspace_owner" "me" {}
resource "coder_agent" "one" {
  os   = "linux"
  arch = "amd64"
  env  = { OWNER = data.coder_workspace_owner.me.name }
}
resource "coder_agent" "two" {
  os   = "linux"
  arch = "arm64"
}
resource "coder_app" "ide" {
  agent_id = coder_agent.two.id
  slug     = "ide"
  url      = "http://localhost:1"
}
""",
        "modules/vm/main.tf",
    )
    assert (await lab.provisioner.import_template(lab.job())).agent_names == ("one", "two")
    init_lines = [line for line in lab.lines if line[1] == "init"]
    assert init_lines, "a module needs an init"
    created = await lab.build(replace(START, stage=Stage.CREATE))
    claimed = await lab.build(
        replace(START, stage=Stage.CLAIM, owner=Owner(id="2", username="grace"))
    )
    assert [(a.name, a.id, a.token) for a in created.agents] == [
        (a.name, a.id, a.token) for a in claimed.agents
    ]
    assert claimed.agents[0].env["OWNER"] == "grace"
    assert [app.slug for app in claimed.agents[1].apps] == ["ide"]
    # what the import installed served both builds
    assert [line for line in lab.lines if line[1] == "init"] == init_lines


async def test_one_init_serves_jobs_that_start_together(lab: Lab) -> None:
    lab.write(HEAD + 'module "vm" {\n  source = "./vm"\n}\n')
    lab.write("", "vm/main.tf")
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(lab.provisioner.import_template(lab.job()))
    assert lab.texts.count("Initializing modules...") == 1


async def test_an_init_nobody_saw_coming_is_made_up_for(lab: Lab) -> None:
    # what looks like a comment to a glance is none to terraform
    lab.write(HEAD + 'locals {\n  a = "/*"\n}\nmodule "vm" {\n  source = "./vm"\n}\n# */\n')
    lab.write("", "vm/main.tf")
    await lab.provisioner.import_template(lab.job())
    assert [stage for _, stage, text in lab.lines if text == "Initializing modules..."] == ["init"]


async def test_a_preset_that_sets_an_unknown_parameter_is_remarked_on(lab: Lab) -> None:
    lab.write(
        HEAD
        + """data "coder_workspace_preset" "p" {
  name       = "P"
  parameters = { sise = "large" }
}
"""
    )
    await lab.provisioner.import_template(lab.job())
    assert (Level.WARN, "show", "preset 'P' sets 'sise', which is no parameter") in lab.lines


@pytest.mark.parametrize(
    ("timezone", "cron", "named"),
    [
        ("Mars/Olympus", "* 8 * * *", r"^main\.tf:13: .*Mars/Olympus"),
        ("UTC", "0 8 * * *", r"^main\.tf:15: .*0 8 \* \* \*"),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused_at_import(
    lab: Lab, timezone: str, cron: str, named: str
) -> None:
    lab.write(
        HEAD
        + f"""data "coder_workspace_preset" "p" {{
  name = "P"
  prebuilds {{
    instances = 2
    scheduling {{
      timezone = "{timezone}"
      schedule {{
        cron      = "{cron}"
        instances = 1
      }}
    }}
  }}
}}
"""
    )
    with pytest.raises(TemplateInvalid, match=named):
        await lab.provisioner.import_template(lab.job())


async def test_a_backend_of_the_template_does_not_get_the_tfstate(lab: Lab) -> None:
    elsewhere = lab.directory / "elsewhere.tfstate"
    lab.write(
        HEAD + AGENT + f'terraform {{\n  backend "local" {{\n    path = "{elsewhere}"\n  }}\n}}\n'
    )
    await lab.build()
    assert not elsewhere.exists()
    assert resources_kept(lab) == ["coder_agent.main"]


async def test_a_provider_that_cannot_be_had_is_named_and_may_be_had_later(lab: Lab) -> None:
    mirror = lab.directory / "mirror"
    mirror.mkdir()
    lab.settings = replace(lab.settings, plugin_mirror_dir=mirror)
    lab.write(HEAD + AGENT + 'resource "acme_machine" "vm" {}\n')
    with pytest.raises(ProvisionError, match="hashicorp/acme") as caught:
        await lab.provisioner.import_template(lab.job())
    assert caught.value.retryable


async def test_a_tfstate_is_readable_by_nobody_else(lab: Lab) -> None:
    lab.write(HEAD + AGENT)
    await lab.build()
    tfstate = lab.directory / "job-1" / "src" / "terraform.tfstate"
    assert tfstate.stat().st_mode & 0o777 == 0o600
    assert json.loads(tfstate.read_bytes())["serial"] > 0


async def test_a_configured_cli_configuration_is_used(lab: Lab) -> None:
    mirror = lab.directory / "mirror"
    mirror.mkdir()
    file = lab.directory / "cli.tfrc"
    file.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
    )
    lab.settings = replace(lab.settings, cli_config_file=file)
    lab.write(HEAD + AGENT + 'resource "acme_machine" "vm" {}\n')
    with pytest.raises(ProvisionError) as caught:
        await lab.provisioner.import_template(lab.job())
    assert str(mirror) in caught.value.message


async def test_a_configured_cli_configuration_that_is_missing_is_named(lab: Lab) -> None:
    lab.settings = replace(lab.settings, cli_config_file=lab.directory / "nowhere.tfrc")
    lab.write(HEAD + AGENT)
    with pytest.raises(ProvisionError, match=r"nowhere\.tfrc: No such file"):
        await lab.provisioner.import_template(lab.job())


def test_a_missing_binary_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(TerraformMissing, match="install one of them"):
        find_terraform()
    with pytest.raises(TerraformMissing, match="'/nowhere/tofu' is not an executable"):
        find_terraform("/nowhere/tofu")
