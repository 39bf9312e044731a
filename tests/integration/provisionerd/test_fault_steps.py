"""A worker that is ended by force at each step of a build, on a system of real processes.

Before its apply, amid it, after it and before its tfstate is stored, and before the result is; in a
build of a person, of the pool, and of a claim. Each time nothing is made twice or forgotten.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from testkit.crashes import list_terraform
from testkit.eventually import eventually
from testkit.system import RunningSystem
from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool.control.v1.workspaces_pb2 import DeleteWorkspaceRequest
from warmpool_cli.archive import pack_template
from warmpool_cli.flows.pushing import follow_import, upload_template

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
    pytest.mark.asyncio(loop_scope="module"),
]
SECONDS = 40

# one resource that is made, and one that is being made while the gate is there; a claim makes both
# anew
TF = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}
PRESET
resource "terraform_data" "made" {
  input            = data.coder_workspace.me.id
  triggers_replace = [data.coder_workspace_owner.me.name]
  provisioner "local-exec" {
    command = "echo ${self.input} made ${self.id} >> JOURNAL"
  }
  provisioner "local-exec" {
    when    = destroy
    command = "echo ${self.input} unmade ${self.id} >> JOURNAL"
  }
}
resource "terraform_data" "gated" {
  depends_on       = [terraform_data.made]
  input            = data.coder_workspace.me.id
  triggers_replace = [data.coder_workspace_owner.me.name]
  provisioner "local-exec" {
    command = "echo ${self.input} begin >> JOURNAL; while [ -e GATE ]; do sleep 0.05; done"
  }
}
"""
PRESET = """
data "coder_workspace_preset" "pool" {
  name    = "pool"
  default = true
  prebuilds {
    instances = 1
  }
}
resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
resource "terraform_data" "agent" {
  input = { home = "WORKSPACES/${data.coder_workspace.me.id}/home" }
  provisioner "local-exec" {
    command = <<-EOT
      mkdir -p ${self.input.home}
      cd ${self.input.home}
      setsid nohup $WARMPOOL_AGENT_COMMAND > agent.log 2>&1 < /dev/null &
    EOT
    environment = {
      CODER_AGENT_TOKEN = coder_agent.main.token
      CODER_AGENT_URL   = data.coder_workspace.me.access_url
      HOME              = self.input.home
    }
  }
}
"""


@dataclass(slots=True, kw_only=True)
class Site:
    """A template whose builds wait at a gate and keep a journal."""

    system: RunningSystem
    template: str = field(default_factory=lambda: f"t-{uuid4().hex[:12]}")

    @property
    def directory(self) -> Path:
        return self.system.layout.root / "steps" / self.template

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    def said(self, workspace_id: str, word: str) -> list[str]:
        """The journal's lines of one workspace that begin with a word, without both."""
        path = self.directory / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        head = f"{workspace_id} {word}"
        return [line.removeprefix(head).strip() for line in lines if line.startswith(head)]

    async def push(self, preset: str) -> None:
        files = self.directory / "files"
        files.mkdir(parents=True)
        text = TF.replace("PRESET", preset).replace("GATE", str(self.gate))
        text = text.replace("WORKSPACES", str(self.system.layout.workspaces))
        (files / "main.tf").write_text(text.replace("JOURNAL", str(self.directory / "journal")))
        header = PushTemplateHeader(
            template=self.template, provisioner_type="terraform", promote=True
        )
        archive = pack_template(files).content
        pushed = await upload_template(self.system.client, header, archive, lambda _sent: None)
        await follow_import(self.system.client, pushed.version, lambda _line: None)

    async def wait_begun(self, workspace_id: str, count: int) -> None:
        def look() -> None:
            assert len(self.said(workspace_id, "begin")) == count

        await eventually(look, seconds=SECONDS)

    async def wait_succeeded(self, workspace_id: str) -> None:
        async def look() -> None:
            build = (await self.system.workspace(workspace_id)).latest_build
            assert build.job_status >= JobStatus.JOB_STATUS_SUCCEEDED

        await eventually(look, seconds=SECONDS)
        build = (await self.system.workspace(workspace_id)).latest_build
        assert (build.job_status, build.job_error) == (JobStatus.JOB_STATUS_SUCCEEDED, "")

    async def require_made(self, workspace_id: str, times: int) -> None:
        """It was made so many times; with its workspace all of it goes, each once."""
        made = self.said(workspace_id, "made")
        assert len(made) == len(set(made)) == times
        request = DeleteWorkspaceRequest(workspace_id=workspace_id)
        await self.system.client.workspaces.DeleteWorkspace(request, timeout=20)
        await self.wait_succeeded(workspace_id)
        assert sorted(self.said(workspace_id, "unmade")) == sorted(made)


@asynccontextmanager
async def held(system: RunningSystem, table: str, mode: str) -> AsyncGenerator[asyncpg.Connection]:
    """Keeps others from a table until the block is left."""
    connection = await asyncpg.connect(system.layout.database_url_file.read_text().strip())
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield connection
    finally:
        await connection.close()


async def wait_queued(connection: asyncpg.Connection, table: str) -> None:
    """Returns when somebody waits for the table."""

    async def look() -> None:
        assert await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass",
            table,
        )

    await eventually(look, seconds=SECONDS)


async def crash_at(site: Site, step: str, workspace_id: str) -> None:
    """Ends the worker at a step of a build that waits at the gate, and lets the next one go on."""
    system = site.system
    match step:
        case "amid":
            pid = system.kill("provisionerd")
            await system.wait_back("provisionerd", pid)
            await site.wait_begun(workspace_id, 2)
            site.gate.unlink()
        case "applied":  # nothing reaches the control plane any more
            system.freeze("reconciler")
            try:
                site.gate.unlink()
                await eventually(lambda: no_terraform(system), seconds=SECONDS)
                pid = system.kill("provisionerd")
            finally:
                system.thaw("reconciler")
            await system.wait_back("provisionerd", pid)
        case _:  # its result waits for the agents' table, its tfstate is stored
            async with held(system, "agents", "SHARE") as connection:
                site.gate.unlink()
                await wait_queued(connection, "agents")
                pid = system.kill("provisionerd")
            await system.wait_back("provisionerd", pid)


def no_terraform(system: RunningSystem) -> None:
    assert not list_terraform(system)


async def test_a_worker_that_dies_before_its_apply(system: RunningSystem) -> None:
    site = Site(system=system)
    await site.push("")
    for each in (system.layout.provisioner / "templates").iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    async with held(system, "archives", "ACCESS EXCLUSIVE") as connection:
        workspace_id = (await system.create(site.template)).workspace.id
        await wait_queued(connection, "archives")
        pid = system.kill("provisionerd")
    await system.wait_back("provisionerd", pid)
    await site.wait_succeeded(workspace_id)
    await site.require_made(workspace_id, 1)


async def test_a_worker_that_dies_after_its_apply(system: RunningSystem) -> None:
    site = Site(system=system)
    await site.push("")
    site.gate.touch()
    workspace_id = (await system.create(site.template)).workspace.id
    await site.wait_begun(workspace_id, 1)
    await crash_at(site, "applied", workspace_id)
    await site.wait_succeeded(workspace_id)
    await site.require_made(workspace_id, 1)


async def test_a_worker_that_dies_amid_a_build_of_the_pool_and_after_the_claim(
    system: RunningSystem,
) -> None:
    site = Site(system=system)
    site.directory.mkdir(parents=True)
    site.gate.touch()
    await site.push(PRESET)
    # GIVEN a prebuild whose build outlives its worker
    (prebuild,) = await eventually(lambda: some_prebuild(site), seconds=SECONDS)
    await site.wait_begun(prebuild, 1)
    await crash_at(site, "amid", prebuild)
    await system.wait_warm(site.template, seconds=SECONDS)
    assert len(site.said(prebuild, "made")) == 1
    # WHEN it is claimed, and the worker dies when the claim is applied and not yet known
    begun = len(site.said(prebuild, "begin"))
    site.gate.touch()
    assert await system.claim(site.template) == prebuild
    await site.wait_begun(prebuild, begun + 1)
    await crash_at(site, "stored", prebuild)
    # THEN what the claim replaced was replaced once
    await site.wait_succeeded(prebuild)
    assert len(site.said(prebuild, "unmade")) == 1
    await site.require_made(prebuild, 2)


async def some_prebuild(site: Site) -> list[str]:
    found = [each.id for each in await site.system.prebuilds(site.template)]
    assert found
    return found
