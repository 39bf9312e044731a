"""Whom the failure of a template is blamed on: what is ours is told from what is a stub's."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.stubs import serve_modules
from testkit.stubs.runner import Life, live

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
]

NEEDS = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
    cloud = { source = "example/cloud" }
  }
}
resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
"""
CALL = """
module "tool" {
  source   = "registry.coder.com/coder/tool/coder"
  version  = "~> 1.0"
  agent_id = coder_agent.main.id
}
"""
TAKES = """
variable "agent_id" { type = string }
"""
OURS = """
resource "coder_app" "tool" {
  agent_id = var.agent_id
  slug     = "tool"
  unheard  = "of"
}
"""
THEIRS = """
resource "cloud_server" "vm" {
  name = jsondecode(var.agent_id)
}
"""
OUR_OTHER = """
resource "coder_env" "tool" {
  agent_id = jsondecode(var.agent_id)
  name     = "TOOL"
  value    = "1"
}
"""


async def live_with(place: Path, module: str) -> Life:
    """The life of a template that calls a module of a registry."""
    directory = place / "checkout" / "registry" / "coder" / "modules" / "tool"
    template, work = place / "template", place / "work"
    for path in (directory, template, work):
        path.mkdir(parents=True)
    (directory / "main.tf").write_text(NEEDS.partition("resource")[0] + TAKES + module)
    (template / "main.tf").write_text(NEEDS + CALL)
    with serve_modules(place / "checkout") as cli_config:
        return await live(template, work, cli_config=cli_config)


@pytest.mark.parametrize(
    ("module", "step", "blamed", "is_ours"),
    [
        (OURS, "import", 'resource "coder_app" "tool" {', True),
        (OUR_OTHER, "create", 'resource "coder_env" "tool" {', True),
        (THEIRS, "create", 'resource "cloud_server" "vm" {', False),
    ],
)
async def test_a_failure_inside_a_module_is_blamed_on_what_it_is_about(
    tmp_path: Path, module: str, step: str, blamed: str, is_ours: bool
) -> None:
    life = await live_with(tmp_path, module)
    assert (life.failed_step, life.blamed, life.blames_coder) == (step, blamed, is_ours), life.error
