"""A live system's database is dumped, and another system goes on from the dump and the keys."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from embedded import EmbeddedPostgres
from embedded._binaries import find_postgres
from svckit.channel import open_channel
from svckit.system import new_token
from testkit.eventually import eventually
from testkit.system import CALL_SECONDS, RunningSystem, run_system
from warmpool.common.v1.types_pb2 import JOB_STATUS_FAILED
from warmpool.control.v1.people_pb2 import CreateTokenRequest, CreateUserRequest
from warmpool.control.v1.system_pb2 import WhoAmIRequest
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub
from warmpool.control.v1.workspaces_pb2 import DeleteWorkspaceRequest

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
POOL = """
[[presets]]
name = "pool"
default = true
[presets.prebuilds]
instances = 1

[[agents]]
name = "main"
"""


@pytest.fixture
def place() -> Generator[Path]:
    """A directory whose path is short enough for a socket."""
    made = Path(tempfile.mkdtemp(prefix="warmpool-backup-"))
    yield made
    shutil.rmtree(made)


async def run(program: str, *arguments: str) -> None:
    """Runs one of Postgres' own programs."""
    process = await asyncio.create_subprocess_exec(
        find_postgres() / program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def restore(dump: Path, former: Path, root: Path) -> None:
    """What an operator does: a new cluster, the dump, and the secrets that were kept apart."""
    postgres = EmbeddedPostgres(root / "postgres")
    await postgres.start()
    await run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={postgres.url}", str(dump))
    await postgres.stop()
    shutil.copytree(former / "secrets", root / "secrets")
    workspaces = Path("provisioner", "workspaces")  # they are what a cloud is elsewhere
    shutil.copytree(former / workspaces, root / workspaces)


async def delete(system: RunningSystem, workspace_id: str) -> None:
    request = DeleteWorkspaceRequest(workspace_id=workspace_id)
    await system.client.workspaces.DeleteWorkspace(request, timeout=CALL_SECONDS)


async def is_deleted(system: RunningSystem, workspace_id: str) -> None:
    assert (await system.workspace(workspace_id)).HasField("deleted_at")


async def has_failed(system: RunningSystem, workspace_id: str) -> str:
    build = (await system.workspace(workspace_id)).latest_build
    assert build.job_status == JOB_STATUS_FAILED
    return build.job_error


async def test_a_restored_system_knows_its_people_claims_and_deletes(place: Path):
    dump = place / "warmpool.dump"
    async with run_system(place / "a") as former:
        await former.push("before", POOL)
        await former.wait_warm("before")
        people = former.client.people
        await people.CreateUser(CreateUserRequest(username="ada"))
        token = await people.CreateToken(CreateTokenRequest(username="ada", name="laptop"))
        workspace_id = await former.claim("before")
        await former.wait_applied(workspace_id, seconds=20)
        await run("pg_dump", "--format=custom", f"--file={dump}", former.postgres.url)

    await restore(dump, place / "a", place / "b")

    async with run_system(place / "b") as system:
        async with open_channel(system.client.address, token=token.secret) as channel:
            who = await SystemServiceStub(channel).WhoAmI(WhoAmIRequest(), timeout=CALL_SECONDS)
        assert who.username == "ada"
        await system.wait_warm("before")
        await system.wait_applied(await system.claim("before"), seconds=20)

        # A key that is not the one of the tfstates is found out, at the start and at the build.
        key = system.layout.state_key_file
        kept = key.read_text()
        key.write_text(new_token())
        await system.wait_back("reconciler", system.kill("reconciler"))
        lines = map(json.loads, system.service_log("reconciler").splitlines())
        assert "no key of the state key file opens some tfstate" in {e["message"] for e in lines}
        await delete(system, workspace_id)
        error = await eventually(lambda: has_failed(system, workspace_id))
        assert error == (
            f"the control plane refused: the tfstate of workspace {workspace_id} was encrypted with"
            " a key that the reconciler's state_key_file does not hold; add that key as a further"
            " line"
        )

        key.write_text(kept)
        await system.wait_back("reconciler", system.kill("reconciler"))
        await delete(system, workspace_id)
        await eventually(lambda: is_deleted(system, workspace_id))
        assert not (system.layout.workspaces / workspace_id).exists()
