"""A template that is not safe to claim, on a system of real processes: its admins hear of it."""

from __future__ import annotations

import asyncpg
import pytest

from testkit.eventually import eventually
from testkit.system import RunningSystem
from warmpool.common.v1.types_pb2 import LogLevel
from warmpool.control.v1.templates_pb2 import (
    CheckTemplateVersionRequest,
    PushTemplateHeader,
    TemplateCheck,
)
from warmpool.control.v1.workspaces_pb2 import WatchJobLogsRequest
from warmpool_cli.archive import pack_template
from warmpool_cli.flows.checking import follow_check
from warmpool_cli.flows.pushing import follow_import, upload_template
from warmpool_cli.flows.streams import Patience

pytestmark = [
    pytest.mark.integration,
    pytest.mark.terraform,
    pytest.mark.asyncio(loop_scope="module"),
]

UNSAFE = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
data "coder_workspace_owner" "me" {}
data "coder_workspace" "me" {}
data "coder_workspace_preset" "pool" {
  name = "pool"
  default = true
  prebuilds {
    instances = 1
  }
}
resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}
resource "terraform_data" "vm" {
  triggers_replace = [data.coder_workspace_owner.me.name]
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


async def test_admins_hear_of_an_unsafe_template_before_and_when_it_is_claimed(
    system: RunningSystem,
) -> None:
    directory = system.layout.root / "unsafe"
    directory.mkdir()
    (directory / "main.tf").write_text(UNSAFE.replace("WORKSPACES", str(system.layout.workspaces)))
    header = PushTemplateHeader(template="unsafe", provisioner_type="terraform", promote=True)
    archive = pack_template(directory).content
    pushed = await upload_template(system.client, header, archive, lambda _sent: None)
    await follow_import(system.client, pushed.version, lambda _line: None)
    # WHEN its first prebuild is made, a claim is rehearsed
    assert await wait_told(system, ["claim.would_replace"]) == {
        "claim.would_replace": "terraform_data.vm (triggers_replace)"
    }
    # AND whoever asks is told the same, upon a prebuild that is there
    warm = await system.wait_warm("unsafe")
    check = await check_once(system)
    assert (check.preset, bool(check.prebuild), check.error) == (warm.preset_name, True, "")
    assert [(each.address, list(each.paths)) for each in check.replacements] == [
        ("terraform_data.vm", ["triggers_replace"])
    ]
    # AND when it is claimed, the claim works all the same, and says what it cost
    workspace_id = await system.claim("unsafe")
    workspace = await system.wait_applied(workspace_id, seconds=30)
    assert await wait_told(system, ["claim.resources_replaced", "claim.would_replace"]) == {
        "claim.resources_replaced": "terraform_data.vm (triggers_replace)",
        "claim.would_replace": "terraform_data.vm (triggers_replace)",
    }
    assert await read_warnings(system, workspace.latest_build.job_id) == [
        "terraform_data.vm: replaced at the claim; differs: triggers_replace"
    ]


async def check_once(system: RunningSystem) -> TemplateCheck:
    """What a check of the template's only pool finds."""
    asked = await system.client.templates.CheckTemplateVersion(
        CheckTemplateVersionRequest(template="unsafe"), timeout=20
    )
    (queued,) = asked.checks
    return await follow_check(
        system.client, queued, lambda _line: None, timeout_seconds=30, patience=Patience()
    )


async def wait_told(system: RunningSystem, kinds: list[str]) -> dict[str, str]:
    """What template admins were told, by kind: the resources and attributes alone."""
    connection = await asyncpg.connect(system.layout.database_url_file.read_text().strip())
    try:

        async def look() -> dict[str, str]:
            rows = await connection.fetch("SELECT kind, message FROM notifications ORDER BY kind")
            assert [row["kind"] for row in rows] == kinds
            return {
                row["kind"]: row["message"].rpartition(": ")[2].partition(". Such")[0]
                for row in rows
            }

        return await eventually(look, seconds=40)
    finally:
        await connection.close()


async def read_warnings(system: RunningSystem, job_id: str) -> list[str]:
    """The warnings in the log of a job that has ended."""
    found: list[str] = []
    stream = system.client.workspaces.WatchJobLogs(WatchJobLogsRequest(job_id=job_id), timeout=20)
    async for response in stream:
        lines = response.lines
        found += [line.text for line in lines if line.level == LogLevel.LOG_LEVEL_WARN]
    return found
