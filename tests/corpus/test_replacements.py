"""What a claim would replace, and what it did, of a provider that says what forces it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from provisionerd.core.provisioner import Replacement
from testkit.stubs.runner import Life, live

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
]

UNSAFE = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
    cloud = { source = "example/cloud" }
  }
}
data "coder_workspace_owner" "me" {}
resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
resource "cloud_disk" "home" {
  label = data.coder_workspace_owner.me.name
}
resource "cloud_server" "vm" {
  disk          = cloud_disk.home.id
  stub_replaces = data.coder_workspace_owner.me.name
  stub_gone_at  = "GONE"
}
"""
WOULD = (Replacement(address="cloud_server.vm", paths=("stub_replaces",)),)


async def live_unsafely(place: Path, before: Callable[[str], None]) -> Life:
    template, work = place / "template", place / "work"
    template.mkdir()
    work.mkdir()
    (template / "main.tf").write_text(UNSAFE.replace("GONE", str(place / "gone")))
    life = await live(template, work, before=before)
    assert (life.failed_step, life.error) == ("", "")
    return life


async def test_a_rehearsal_foretells_what_the_claim_replaces(tmp_path: Path) -> None:
    life = await live_unsafely(tmp_path, lambda _step: None)
    assert life.rehearsed == life.claimed.replacements == WOULD


async def test_a_rehearsal_is_not_deceived_by_a_prebuild_that_is_gone(tmp_path: Path) -> None:
    def before(step: str) -> None:
        (tmp_path / "gone").unlink(missing_ok=True)
        if step == "rehearse":
            (tmp_path / "gone").touch()

    life = await live_unsafely(tmp_path, before)
    assert life.rehearsed == WOULD
    assert any("cloud_server.vm: gone meanwhile" in each for each in life.warnings)
