"""The worker with real terraform: what a person gets when a build is posted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisionerd.terraform import TerraformProvisioner, TerraformSettings
from provisionerd.terraform.tfstate import read_tfstate
from testkit.fake_agents import fake_agents
from testkit.worker_lab import WorkerLab
from warmpool.common.v1 import types_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
]

MAIN_TF = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
data "coder_workspace_owner" "me" {}
resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
resource "terraform_data" "machine" {
  input = data.coder_workspace_owner.me.name
}
"""
ENDLESS_TF = (
    MAIN_TF
    + """
resource "terraform_data" "endless" {
  depends_on = [terraform_data.machine]
  provisioner "local-exec" {
    command     = "$WARMPOOL_AGENT_COMMAND; true"
    environment = { CODER_AGENT_TOKEN = coder_agent.main.token }
  }
}
"""
)


def with_terraform(lab: WorkerLab, tmp_path: Path, agent_command: str = "") -> None:
    provisioner = TerraformProvisioner(
        TerraformSettings(cache_dir=tmp_path / "cache"),
        environment={**os.environ, "WARMPOOL_AGENT_COMMAND": agent_command},
    )
    lab.provisioners[provisioner.type] = provisioner


async def test_an_import_a_start_and_a_delete(lab: WorkerLab, tmp_path: Path) -> None:
    with_terraform(lab, tmp_path)
    files = {"main.tf": MAIN_TF}
    async with lab.worker():
        imported = lab.fake.post(
            files=files,
            provisioner_type="terraform",
            template_import=pb.TemplateImportJob(template_name="t", version_name="v1"),
        )
        started = lab.fake.post(files=files, provisioner_type="terraform")
        await lab.fake.until(lambda: imported.is_final and started.is_final)
        build = pb.WorkspaceBuildJob()
        build.CopyFrom(started.message.workspace_build)
        build.transition = types_pb2.TRANSITION_DELETE
        deleted = lab.fake.post(
            files=files,
            tfstate=started.uploads[-1],
            provisioner_type="terraform",
            workspace_build=build,
        )
        await lab.fake.until(lambda: deleted.is_final)
    assert imported.completed is not None
    assert list(imported.completed.template_import.agent_names) == ["main"]
    assert started.completed is not None
    (agent,) = started.completed.workspace_build.agents
    assert (agent.name, len(agent.token) > 20) == ("main", True)
    assert [agent.token in text for text in started.texts].count(True) == 0
    machine = next(
        each for each in read_tfstate(started.uploads[-1]).managed if each.name == "machine"
    )
    assert machine.type == "terraform_data"
    assert deleted.completed is not None
    assert read_tfstate(deleted.uploads[-1]).managed == ()
    assert lab.job_dirs == []


async def test_a_wrong_template_is_told_with_file_and_line(lab: WorkerLab, tmp_path: Path) -> None:
    with_terraform(lab, tmp_path)
    async with lab.worker():
        job = lab.fake.post(
            files={"main.tf": 'resource "terraform_data" "a" {\n  inptu = 1\n}\n'},
            provisioner_type="terraform",
            template_import=pb.TemplateImportJob(template_name="t"),
        )
        await lab.fake.until(lambda: job.is_final)
    assert job.failed is not None
    assert job.failed.reason == "VALIDATION"
    assert "main.tf" in job.failed.error
    assert "inptu" in job.failed.error


@pytest.mark.parametrize("how", ["graceful", "forced", "superseded", "drain"])
async def test_a_build_that_is_stopped_leaves_no_process(
    lab: WorkerLab, tmp_path: Path, how: str
) -> None:
    async with fake_agents(str(tmp_path)) as agents:
        with_terraform(lab, tmp_path, agents.command)
        async with lab.worker(drain_seconds=1.0 if how == "drain" else 60.0) as worker:
            # GIVEN a build whose first resource is made, and whose second never will be
            job = lab.fake.post(files={"main.tf": ENDLESS_TF}, provisioner_type="terraform")
            running = await agents.arrival()
            # WHEN it is stopped
            match how:
                case "superseded":
                    lab.fake.supersede(job)
                case "drain":
                    await worker.stop()
                case _:
                    job.cancel, job.cancel_forced = True, how == "forced"
            # THEN its processes go
            await agents.departure(running)
            # AND what was made so far is known, unless nobody would hear it
            if how != "superseded":
                await lab.fake.until(lambda: job.ends)
                made = {each.name for each in read_tfstate(job.uploads[-1]).managed}
                assert "machine" in made
    match how:
        case "superseded":
            assert job.ends == []
        case "drain":
            assert job.released is not None
        case _:
            assert job.failed is not None
            assert job.failed.reason == "CANCELED"
    assert lab.job_dirs == []
