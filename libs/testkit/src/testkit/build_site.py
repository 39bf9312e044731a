"""A Terraform template whose builds can be stopped at every step, and what they really made.

Its three resources are lines of a journal that their own commands write: `begin-made` and `made`,
`begin-unmade` and `unmade`. The journal is the independent ledger: whatever tfstate, control plane
and worker believe, what it says happened. A command waits while its gate is there, but not for the
pool. `first` comes before the others; `slow` is stored as made, its command still running, because
`quick` ends meanwhile. A claim makes all three anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import grpc
import grpc.aio

from testkit.eventually import eventually
from testkit.gate_server import GateServer
from testkit.system import RunningSystem
from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.pools_pb2 import SetPoolPausedRequest
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool.control.v1.workspaces_pb2 import DeleteWorkspaceRequest, WorkspaceBuild
from warmpool_cli.archive import pack_template
from warmpool_cli.flows.pushing import follow_import, upload_template

__all__ = ["PATIENCE_SECONDS", "POOL", "BuildSite", "Trio"]

NAMES = ("first", "quick", "slow")
POOL = "prebuilds"
PATIENCE_SECONDS = 90.0  # a service's start, its clients' backoff, and a machine that is busy
CALL_SECONDS = 20.0

SCRIPT = """#!/bin/sh
# workspace, owner, resource, made or unmade, id
echo "$1 $2 begin-$4 $3 $5" >> SITE/journal
if [ "$3 $4" = "quick made" ]; then
  until grep -q "^$1 $2 begin-made slow" SITE/journal; do sleep 0.05; done
fi
while [ "$2" != POOL ] && [ -e "SITE/gate-$4-$3" ]; do sleep 0.05; done
echo "$1 $2 $4 $3 $5" >> SITE/journal
"""
HEAD = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}
data "coder_workspace_preset" "pool" {
  name    = "pool"
  default = true
  prebuilds {
    instances = 2
  }
}
module "nothing" {
  source = "SERVER/module.tar.gz"
}
data "terraform_remote_state" "gate" {
  backend = "http"
  config  = { address = "SERVER/outputs/${data.coder_workspace.me.id}" }
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
      echo $! > agent.pid
    EOT
    environment = {
      CODER_AGENT_TOKEN = coder_agent.main.token
      CODER_AGENT_URL   = data.coder_workspace.me.access_url
      HOME              = self.input.home
    }
  }
  provisioner "local-exec" {
    when    = destroy
    command = "kill $(cat ${self.input.home}/agent.pid) || true"
  }
}
"""
RESOURCE = """
resource "terraform_data" "NAME" {
  depends_on = [AFTER]
  input = {
    workspace = data.coder_workspace.me.id
    owner     = data.coder_workspace_owner.me.name
  }
  triggers_replace = [data.coder_workspace_owner.me.name]
  provisioner "local-exec" {
    command = "sh SITE/step.sh ${self.input.workspace} ${self.input.owner} NAME made ${self.id}"
  }
  provisioner "local-exec" {
    when    = destroy
    command = "sh SITE/step.sh ${self.input.workspace} ${self.input.owner} NAME unmade ${self.id}"
  }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the journal."""

    workspace_id: str
    owner: str
    word: str
    name: str
    resource_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trio:
    """Three workspaces whose builds are under way at once: one made from nothing, one claimed, one
    deleted.
    """

    created: str
    claimed: str
    deleted: str

    @property
    def all(self) -> tuple[str, str, str]:
        """Their ids."""
        return self.created, self.claimed, self.deleted


@dataclass(slots=True, kw_only=True)
class BuildSite:
    """The template in a running system, and its journal."""

    system: RunningSystem
    server: GateServer
    template: str = field(default_factory=lambda: f"t-{uuid4().hex[:12]}")

    @property
    def directory(self) -> Path:
        """Where its files, its gates and its journal are."""
        return self.system.layout.root / "sites" / self.template

    # --- What happened -------------------------------------------------------------------------

    def said(self, workspace_id: str, word: str, name: str = "", owner: str = "") -> list[Line]:
        """What the journal says of a workspace."""
        path = self.directory / "journal"
        rows = [row.split() for row in path.read_text().splitlines()] if path.exists() else []
        lines = [
            Line(workspace_id=row[0], owner=row[1], word=row[2], name=row[3], resource_id=row[4])
            for row in rows
        ]
        return [
            line
            for line in lines
            if (line.workspace_id, line.word) == (workspace_id, word)
            and name in ("", line.name)
            and owner in ("", line.owner)
        ]

    def require_made_once(self, workspace_id: str, owners: Iterable[str]) -> None:
        """For each of the owners each resource was made once, and nothing else was."""
        counts = Counter((line.owner, line.name) for line in self.said(workspace_id, "made"))
        assert counts == {(owner, name): 1 for owner in owners for name in NAMES}

    def require_nothing_left(self, workspace_id: str) -> None:
        """What was made is unmade, each once."""
        made = Counter(line.resource_id for line in self.said(workspace_id, "made"))
        unmade = Counter(line.resource_id for line in self.said(workspace_id, "unmade"))
        assert unmade == made, f"made {made - unmade}, unmade {unmade - made} too often"

    # --- Gates ---------------------------------------------------------------------------------

    def shut(self, *gates: str) -> None:
        """Commands of people's workspaces wait, from now on, at gates such as `made-slow`."""
        for gate in gates:
            (self.directory / f"gate-{gate}").touch()

    def open(self) -> None:
        """Removes every gate."""
        for path in self.directory.glob("gate-*"):
            path.unlink()

    # --- Builds --------------------------------------------------------------------------------

    async def push(self) -> None:
        """Imports and promotes it."""
        files = self.directory / "files"
        files.mkdir(parents=True)
        resources = {"first": "terraform_data.agent", "quick": "", "slow": ""}
        text = HEAD.replace("WORKSPACES", str(self.system.layout.workspaces))
        for name, after in resources.items():
            one = RESOURCE.replace("NAME", name)
            text += one.replace("AFTER", after or "terraform_data.first")
        text = text.replace("SITE", str(self.directory)).replace("SERVER", self.server.url)
        (files / "main.tf").write_text(text)
        script = SCRIPT.replace("SITE", str(self.directory)).replace("POOL", POOL)
        (self.directory / "step.sh").write_text(script)
        header = PushTemplateHeader(
            template=self.template, provisioner_type="terraform", promote=True
        )
        content = pack_template(files).content
        pushed = await upload_template(self.system.client, header, content, lambda _sent: None)
        await follow_import(self.system.client, pushed.version, lambda _line: None)

    async def make_ready(self) -> str:
        """A prebuild that waits and a workspace to delete, whose id is returned; nothing else is
        under way, and the pool makes no more.
        """
        await self._pause(paused=False)
        await self.system.wait_warm(self.template, seconds=PATIENCE_SECONDS)
        await self._pause(paused=True)
        claimed = await self.system.claim(self.template)
        assert (await self.wait_ended(claimed)).job_error == ""
        await self._wait_idle()
        return claimed

    async def ask(self, deleted: str) -> Trio:
        """Asks for all three builds; the prebuild is claimed, the workspace is deleted."""
        claimed = await self.system.create(self.template)
        created = await self.system.create(self.template)
        assert (claimed.warm, created.warm) == (True, False)
        await self.delete(deleted)
        return Trio(created=created.workspace.id, claimed=claimed.workspace.id, deleted=deleted)

    async def delete(self, workspace_id: str) -> None:
        """Asks for the deletion of a workspace."""
        request = DeleteWorkspaceRequest(workspace_id=workspace_id)
        await self.system.client.workspaces.DeleteWorkspace(request, timeout=CALL_SECONDS)

    async def wait_ended(self, workspace_id: str) -> WorkspaceBuild:
        """The workspace's newest build when it has ended."""

        async def look() -> WorkspaceBuild:
            try:
                workspace = await self.system.workspace(workspace_id)
            except grpc.aio.AioRpcError as error:  # while what was ended comes back
                raise AssertionError(error.details()) from error
            assert workspace.latest_build.job_status >= JobStatus.JOB_STATUS_SUCCEEDED
            return workspace.latest_build

        return await eventually(look, seconds=PATIENCE_SECONDS)

    async def wait_begun(self, workspace_id: str, word: str, name: str, count: int) -> None:
        """Returns when a command of a person's workspace has begun so many times."""

        def look() -> None:
            assert len(self.said(workspace_id, word, name, owner="admin")) == count

        await eventually(look, seconds=PATIENCE_SECONDS)

    async def wait_stored(self, workspace_id: str) -> None:
        """Returns when a tfstate of a job under way has `slow` in it, whose command still runs."""
        id_ = self.said(workspace_id, "begin-made", "slow", owner="admin")[-1].resource_id

        def look() -> None:
            files = (self.system.layout.provisioner / "jobs").glob("*/work/src/terraform.tfstate")
            assert [file for file in files if id_ in file.read_text()]

        await eventually(look, seconds=PATIENCE_SECONDS)

    async def query(self, sql: str) -> int:
        """One number from the database."""
        url = self.system.layout.database_url_file.read_text().strip()
        try:
            connection = await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError) as error:  # it recovers
            raise AssertionError(str(error)) from error
        try:
            return int(await connection.fetchval(sql))
        finally:
            await connection.close()

    async def _wait_idle(self) -> None:
        sql = "SELECT count(*) FROM jobs WHERE status IN ('pending', 'running', 'canceling')"

        async def look() -> None:
            assert await self.query(sql) == 0

        await eventually(look, seconds=PATIENCE_SECONDS)

    async def _pause(self, *, paused: bool) -> None:
        request = SetPoolPausedRequest(template=self.template, paused=paused)

        async def look() -> None:
            try:
                await self.system.client.pools.SetPoolPaused(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise AssertionError(error.details()) from error

        await eventually(look, seconds=PATIENCE_SECONDS)
