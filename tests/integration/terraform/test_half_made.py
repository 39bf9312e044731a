"""Terraform is ended by force while a command of a new resource runs, and the tfstate already says
that the resource is made: the next build makes it anew, and everything else is left as it is.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provisionerd.core.errors import ProvisionError
from provisionerd.core.provisioner import Cancel, Job
from provisionerd.terraform import TerraformProvisioner, TerraformSettings, salvage_tfstate
from provisionerd.terraform.tfstate import read_tfstate
from testkit.builds import START
from testkit.eventually import eventually

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
]

# `slow` is made and its command runs when `quick`, which ends, has the tfstate written
TF = """
resource "terraform_data" "first" {
  provisioner "local-exec" {
    command = "echo first >> JOURNAL"
  }
}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "echo begin >> JOURNAL; while [ -e GATE ]; do sleep 0.05; done; echo end >> JOURNAL"
  }
}
resource "terraform_data" "quick" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "until grep -q begin JOURNAL; do sleep 0.05; done; echo quick >> JOURNAL"
  }
}
"""


@dataclass(slots=True, kw_only=True)
class Site:
    """One workspace whose builds wait while the gate is there, and keep a journal."""

    directory: Path
    kept: list[bytes] = field(default_factory=list[bytes])
    jobs: list[Job] = field(default_factory=list[Job])

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    @property
    def journal(self) -> list[str]:
        return (self.directory / "journal").read_text().split()

    @property
    def tainted(self) -> Mapping[str, bool]:
        """Of the newest tfstate: what is in it, and whether it is to be made anew."""
        return {each.name: each.tainted for each in read_tfstate(self.kept[-1]).managed}

    async def build(self) -> None:
        work_dir = self.directory / f"job-{len(self.jobs)}"
        work_dir.mkdir(mode=0o700)
        job = Job(
            job_id=work_dir.name,
            template_dir=self.directory / "template",
            work_dir=work_dir,
            log=lambda level, stage, text: None,
            cancel=Cancel(),
            state=self.kept[-1] if self.kept else None,
            keep_state=self._keep,
        )
        self.jobs.append(job)
        settings = TerraformSettings(
            cache_dir=self.directory / "cache", tfstate_keep_seconds=0.02, interrupt_grace_seconds=1
        )
        await TerraformProvisioner(settings).build(job, START)

    async def until_stored(self) -> None:
        """Returns when a tfstate was kept in which `slow` and what ended are."""

        def look() -> None:
            assert self.kept
            assert self.tainted.keys() == {"first", "slow", "quick"}

        await eventually(look, seconds=60)

    async def _keep(self, tfstate: bytes) -> None:
        self.kept.append(tfstate)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(directory=tmp_path)
    text = TF.replace("JOURNAL", str(tmp_path / "journal")).replace("GATE", str(site.gate))
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "main.tf").write_text(text)
    site.gate.touch()
    return site


def find_terraform_in(directory: Path) -> int:
    """The one process that leads a session and works below the directory."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            works_here = (entry / "cwd").readlink().is_relative_to(directory)
            if works_here and os.getsid(int(entry.name)) == int(entry.name):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended, or is the kernel's
    (pid,) = found
    return pid


@pytest.mark.parametrize("how", ["killed", "forced"])
async def test_what_was_half_made_is_made_anew(site: Site, how: str) -> None:
    async def run() -> None:
        with pytest.raises(ProvisionError):
            await site.build()

    async with asyncio.TaskGroup() as group:
        group.create_task(run())
        await site.until_stored()
        # the tfstate that is kept meanwhile says so, and so does what the next process would find
        assert site.tainted == {"first": False, "slow": True, "quick": False}
        salvaged = salvage_tfstate(site.jobs[0].work_dir)
        names = {each.name: each.tainted for each in read_tfstate(salvaged).managed}
        assert names == {"first": False, "slow": True, "quick": False}
        if how == "killed":
            os.kill(find_terraform_in(site.jobs[0].work_dir), signal.SIGKILL)
        else:
            site.jobs[0].cancel.forced.set()
    assert site.tainted == {"first": False, "slow": True, "quick": False}
    site.gate.unlink()
    await site.build()
    assert site.tainted == {"first": False, "slow": False, "quick": False}
    assert site.journal == ["first", "begin", "quick", "begin", "end"]


async def test_what_ends_well_is_not_marked_any_more(site: Site) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(site.build())
        await site.until_stored()
        assert site.tainted["slow"]
        site.gate.unlink()
    assert site.tainted == {"first": False, "slow": False, "quick": False}
    assert site.journal == ["first", "begin", "quick", "end"]
