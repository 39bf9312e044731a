"""The console script for people who write templates: real terraform, no provisionerd."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
    pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not on PATH"),
]

SCRIPT = Path(sys.executable).with_name("terraform-provider-coder")
VERSION = "2.99.0"
MAIN_TF = """
terraform {
  required_providers {
    coder = {
      source  = "coder/coder"
      version = "~> 2.0"
    }
  }
}
data "coder_workspace_owner" "me" {}
data "coder_parameter" "cpu" {
  name = "cpu"
  type = "number"
}
resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
output "seen" {
  value = "${data.coder_workspace_owner.me.name} ${data.coder_parameter.cpu.value}"
}
"""
CPU = f"CODER_PARAMETER_{hashlib.sha256(b'cpu').hexdigest()}"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    directory = tmp_path / "template"
    directory.mkdir()
    (directory / "main.tf").write_text(MAIN_TF)
    (tmp_path / "empty.tfrc").touch()
    return directory


async def run(template: Path, *command: str, **more: str) -> tuple[int, str]:
    """Runs a command in the template; its exit code and all it said."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(template.parent),
        "TF_CLI_CONFIG_FILE": str(template.parent / "empty.tfrc"),
        "CHECKPOINT_DISABLE": "1",
        "CODER_WORKSPACE_OWNER": "grace",
        CPU: "4",
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=template,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


def seen(template: Path) -> str:
    """What the template's output says in the tfstate."""
    return json.loads((template / "terraform.tfstate").read_text())["outputs"]["seen"]["value"]


async def test_it_serves_one_command_without_any_init(template: Path) -> None:
    serve = (str(SCRIPT), "--", "terraform")
    code, said = await run(template, *serve, "apply", "-auto-approve", "-no-color")
    assert (code, seen(template)) == (0, "grace 4"), said
    # AND the command's exit code is its own
    code, said = await run(template, *serve, "destroy", "-no-such-flag")
    assert code == 1
    assert "-no-such-flag" in said


async def test_terraform_starts_it_from_a_mirror(template: Path, tmp_path: Path) -> None:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    place = f"registry.terraform.io/coder/coder/{VERSION}/{sys.platform}_{machine}"
    mirror = tmp_path / "mirror" / place
    mirror.mkdir(parents=True)
    shutil.copy2(SCRIPT, mirror / f"terraform-provider-coder_v{VERSION}")
    (tmp_path / "empty.tfrc").write_text(
        "provider_installation {\n"
        f'  filesystem_mirror {{\n    path = "{tmp_path / "mirror"}"\n  }}\n}}\n'
    )
    code, said = await run(template, "terraform", "init", "-no-color")
    assert code == 0, said
    apply = ("terraform", "apply", "-auto-approve", "-no-color")
    code, said = await run(template, *apply, TF_DISABLE_PLUGIN_TLS="1")
    assert (code, seen(template)) == (0, "grace 4"), said
    # AND with TLS it says what to do
    code, said = await run(template, *apply)
    assert code == 1
    assert "set TF_DISABLE_PLUGIN_TLS=1" in " ".join(said.split()), said


async def test_started_by_a_person_it_says_what_it_is(template: Path) -> None:
    code, said = await run(template, str(SCRIPT))
    assert code == 1
    assert "terraform-provider-coder -- terraform plan" in said
    code, said = await run(template, str(SCRIPT), "--", "no-such-command")
    assert (code, said.splitlines()[-1].split(":")[0]) == (
        127,
        "no-such-command cannot be started",
    )
