"""Crashes in the middle of a build, on a system of real processes.

Each time a different process is ended by force while a build's command runs. Then: the job ends
settled, nothing was made twice, nothing that was made is forgotten.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import grpc
import grpc.aio
import pytest

from testkit.crashes import crash_postgres, list_terraform, processes_in
from testkit.eventually import eventually
from testkit.system import RunningSystem
from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool.control.v1.workspaces_pb2 import DeleteWorkspaceRequest, Workspace
from warmpool_cli.archive import pack_template
from warmpool_cli.flows.pushing import follow_import, upload_template

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
TERRAFORM = shutil.which("terraform") or shutil.which("tofu")
needs_terraform = [
    pytest.mark.terraform,
]
SECONDS = 40  # a service's start, its clients' backoff, and a machine that is busy

PROCESS = """
[workspace]
setup = '''
echo begin >> {journal}
while [ -e {gate} ]; do sleep 0.05; done
echo end >> {journal}
'''

[[agents]]
name = "main"
"""
# one resource that is made, and one that is being made while the gate is there
TF = """
terraform {{
  required_providers {{
    coder = {{ source = "coder/coder" }}
  }}
}}
data "coder_workspace" "me" {{}}
resource "terraform_data" "made" {{
  provisioner "local-exec" {{
    command = "echo made ${{self.id}} >> {journal}"
  }}
  provisioner "local-exec" {{
    when    = destroy
    command = "echo unmade ${{self.id}} >> {journal}"
  }}
}}
resource "terraform_data" "gated" {{
  depends_on = [terraform_data.made]
  provisioner "local-exec" {{
    command = "echo begin >> {journal}; while [ -e {gate} ]; do sleep 0.05; done"
  }}
}}
"""


@dataclass(slots=True, kw_only=True)
class Site:
    """A template whose build waits at a gate and keeps a journal."""

    system: RunningSystem
    kind: str
    template: str = field(default_factory=lambda: f"t-{uuid4().hex[:12]}")

    @property
    def directory(self) -> Path:
        return self.system.layout.root / "sites" / self.template

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    def journal(self) -> list[str]:
        path = self.directory / "journal"
        return path.read_text().splitlines() if path.exists() else []

    async def begin(self) -> str:
        """Pushes the template, asks for a workspace, and returns its id when its build waits."""
        files = self.directory / "files"
        files.mkdir(parents=True)
        self.gate.touch()
        name, text = ("main.tf", TF) if self.kind == "terraform" else ("warmpool.toml", PROCESS)
        text = text.format(journal=self.directory / "journal", gate=self.gate)
        (files / name).write_text(text)
        header = PushTemplateHeader(
            template=self.template, provisioner_type=self.kind, promote=True
        )
        archive = pack_template(files).content
        client = self.system.client
        pushed = await upload_template(client, header, archive, lambda _sent: None)
        await follow_import(client, pushed.version, lambda _line: None)
        created = await self.system.create(self.template)
        await self.wait_begun(1)
        return created.workspace.id

    async def wait_begun(self, count: int) -> None:
        await eventually(lambda: equals(self.journal().count("begin"), count), seconds=SECONDS)

    async def wait_ended(self, workspace_id: str) -> Workspace:
        async def look() -> Workspace:
            try:
                workspace = await self.system.workspace(workspace_id)
            except grpc.aio.AioRpcError as error:  # while what was ended comes back
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    raise AssertionError(error.details()) from error
                raise
            assert workspace.latest_build.job_status >= JobStatus.JOB_STATUS_SUCCEEDED
            return workspace

        return await eventually(look, seconds=SECONDS)

    async def delete(self, workspace_id: str) -> int:
        """Deletes the workspace and returns how that ended."""
        request = DeleteWorkspaceRequest(workspace_id=workspace_id)
        await self.system.client.workspaces.DeleteWorkspace(request, timeout=20)
        return (await self.wait_ended(workspace_id)).latest_build.job_status


@pytest.mark.parametrize("victim", ["reconciler", "postgres"])
async def test_a_build_outlives_the_control_plane_and_is_run_once(
    system: RunningSystem, victim: str
) -> None:
    site = Site(system=system, kind="process")
    workspace_id = await site.begin()
    if victim == "reconciler":
        await system.wait_back(victim, system.kill(victim))
    else:
        await crash_postgres(system)
    site.gate.unlink()
    ended = await site.wait_ended(workspace_id)
    assert (ended.latest_build.job_status, ended.latest_build.job_error) == (
        JobStatus.JOB_STATUS_SUCCEEDED,
        "",
    )
    assert site.journal() == ["begin", "end"]
    assert len(agents_of(system, workspace_id)) == 1
    assert await site.delete(workspace_id) == JobStatus.JOB_STATUS_SUCCEEDED
    assert agents_of(system, workspace_id) == []


async def test_a_build_whose_worker_died_is_run_by_the_next_from_the_start(
    system: RunningSystem,
) -> None:
    site = Site(system=system, kind="process")
    workspace_id = await site.begin()
    pid = system.kill("provisionerd")
    await system.wait_back("provisionerd", pid)
    await site.wait_begun(2)
    site.gate.unlink()
    ended = await site.wait_ended(workspace_id)
    assert ended.latest_build.job_status == JobStatus.JOB_STATUS_SUCCEEDED
    # the first one's command was ended before the second one's began
    assert site.journal() == ["begin", "begin", "end"]
    assert len(agents_of(system, workspace_id)) == 1
    assert await site.delete(workspace_id) == JobStatus.JOB_STATUS_SUCCEEDED
    assert agents_of(system, workspace_id) == []


@pytest.mark.parametrize(
    "victim",
    [
        pytest.param(victim, marks=needs_terraform)
        for victim in ("terraform", "provisionerd", "reconciler", "postgres")
    ],
)
async def test_what_terraform_made_is_made_once_and_never_forgotten(
    system: RunningSystem, victim: str
) -> None:
    site = Site(system=system, kind="terraform")
    workspace_id = await site.begin()
    expected = JobStatus.JOB_STATUS_SUCCEEDED
    match victim:
        case "terraform":
            (pid,) = list_terraform(system)
            os.kill(pid, signal.SIGKILL)
            expected = JobStatus.JOB_STATUS_FAILED  # nobody knows whether a repetition would help
        case "provisionerd":
            await system.wait_back(victim, system.kill(victim))
            await site.wait_begun(2)
        case "reconciler":
            await system.wait_back(victim, system.kill(victim))
        case _:
            await crash_postgres(system)
    site.gate.unlink()
    assert (await site.wait_ended(workspace_id)).latest_build.job_status == expected
    made = [line.split()[1] for line in site.journal() if line.startswith("made ")]
    assert len(made) == 1
    # WHEN the workspace is deleted, whatever became of its build
    assert await site.delete(workspace_id) == JobStatus.JOB_STATUS_SUCCEEDED
    # THEN what was made is unmade, once
    counts = Counter(line.split()[0] for line in site.journal())
    assert counts["unmade"] == 1
    assert f"unmade {made[0]}" in site.journal()


def agents_of(system: RunningSystem, workspace_id: str) -> list[int]:
    """The agents that run in a workspace."""
    return [
        pid
        for pid, command in processes_in(system.layout.workspaces / workspace_id)
        if "agentsdk" in command
    ]


def equals(left: object, right: object) -> None:
    assert left == right
