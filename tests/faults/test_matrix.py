"""Every process is ended by force at every step of a build: `make faults`.

Three builds are under way at once: of a workspace made from nothing, of one that is claimed,
and of one that is deleted. All are held at the same step when the victim gets SIGKILL. Then: every
build ends, what was made is made once and known, and with its workspace it goes, once.

A Terraform that is ended alone fails its build, for nobody knows whether a repetition would help;
its next build goes on from what there is.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from testkit.build_site import PATIENCE_SECONDS, POOL, BuildSite, Trio
from testkit.crashes import crash_postgres, list_terraform
from testkit.eventually import eventually
from warmpool.common.v1.types_pb2 import JobStatus, Transition
from warmpool.control.v1.workspaces_pb2 import BuildWorkspaceRequest

pytestmark = [
    pytest.mark.faults,
    pytest.mark.terraform,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
]
STEPS = (
    "acquired",
    "download",
    "init",
    "plan",
    "apply begun",
    "amid the apply",
    "applied",
    "upload",
    "completed",
)
RUNS_TERRAFORM = ("init", "plan", "apply begun", "amid the apply")
COMES_BACK_LATER = ("applied", "upload", "completed")
"""What holds these steps would hold who comes back, too."""
VICTIMS = ("provisionerd", "reconciler", "postgres")
CASES = [
    *((step, victim) for step in STEPS for victim in VICTIMS),
    *((step, "terraform") for step in RUNS_TERRAFORM),
]


@pytest.mark.parametrize(("step", "victim"), CASES)
async def test_a_crash(site: BuildSite, step: str, victim: str) -> None:
    deleted = await site.make_ready()
    async with held_at(site, step, deleted) as trio:
        pid = (
            site.system.supervisor.pid_of(victim) if victim in ("provisionerd", "reconciler") else 0
        )
        await crash(site, victim)
        if step not in COMES_BACK_LATER:
            await wait_back(site, victim, pid)
            if victim in ("provisionerd", "terraform"):
                await wait_begun_again(site, step, trio, failed=victim == "terraform")
    if step in COMES_BACK_LATER:
        await wait_back(site, victim, pid)
    await converge(site, trio, may_fail=victim == "terraform")
    for workspace_id in trio.all:
        owners = ("admin",) if workspace_id == trio.created else (POOL, "admin")
        site.require_made_once(workspace_id, owners)
    for workspace_id in (trio.created, trio.claimed):
        await site.delete(workspace_id)
    for workspace_id in trio.all:
        assert (await site.wait_ended(workspace_id)).job_error == ""
        site.require_nothing_left(workspace_id)


async def converge(site: BuildSite, trio: Trio, *, may_fail: bool) -> None:
    """Every build ends, and ends well; what its Terraform's end made fail is asked for again."""
    for workspace_id in trio.all:
        build = await site.wait_ended(workspace_id)
        if may_fail and build.job_status == JobStatus.JOB_STATUS_FAILED:
            if workspace_id == trio.deleted:
                await site.delete(workspace_id)
            else:
                request = BuildWorkspaceRequest(
                    workspace_id=workspace_id, transition=Transition.TRANSITION_START
                )
                await site.system.client.workspaces.BuildWorkspace(request, timeout=20)
            build = await site.wait_ended(workspace_id)
        assert (build.job_status, build.job_error) == (JobStatus.JOB_STATUS_SUCCEEDED, "")


async def crash(site: BuildSite, victim: str) -> None:
    match victim:
        case "terraform":
            pids = list_terraform(site.system)
            assert pids
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        case "postgres":
            await crash_postgres(site.system)
        case _:
            site.system.kill(victim)


async def wait_back(site: BuildSite, victim: str, pid: int | None) -> None:
    if pid:
        await site.system.wait_back(victim, pid)


async def wait_begun_again(site: BuildSite, step: str, trio: Trio, *, failed: bool) -> None:
    """The commands that were left running are ended, and the next ones are where those were; but
    a build that has failed for good is not tried again.
    """
    match step:
        case "apply begun":
            made, unmade = "first", "slow"
        case "amid the apply":
            made, unmade = "slow", "first"
        case _:
            return
    await site.wait_begun(trio.claimed, "begin-made", made, 2)
    if failed:
        for each in (trio.created, trio.deleted):
            assert (await site.wait_ended(each)).job_status == JobStatus.JOB_STATUS_FAILED
        return
    await site.wait_begun(trio.created, "begin-made", made, 2)
    await site.wait_begun(trio.deleted, "begin-unmade", unmade, 2)


@asynccontextmanager
async def held_at(site: BuildSite, step: str, deleted: str) -> AsyncGenerator[Trio]:
    """Three builds that are at a step until the block is left."""
    match step:
        case "acquired":
            async with frozen(site, "provisionerd"):
                trio = await site.ask(deleted)
                await wait_number(site, "SELECT count(*) FROM jobs WHERE status = 'running'", 1)
                yield trio
        case "download":
            for each in (site.system.layout.provisioner / "templates").iterdir():
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            async with locked(site, "archives", "ACCESS EXCLUSIVE"):
                trio = await site.ask(deleted)
                await wait_blocked(site, "archives", 1)  # one download serves all three
                yield trio
        case "init":
            shutil.rmtree(site.system.layout.provisioner / "cache" / "init")
            async with waiting(site, "module"):
                trio = await site.ask(deleted)
                await wait_asked(site, ["/module.tar.gz"])  # one init serves all three
                yield trio
        case "plan":
            async with waiting(site, "outputs"):
                trio = await site.ask(deleted)
                await wait_asked(site, [f"/outputs/{each}" for each in trio.all])
                yield trio
        case "apply begun":
            # whose command has ended is not yet known to be gone, and would be unmade once more
            async with shut(site, "made-first", "unmade-slow", "unmade-quick"):
                trio = await site.ask(deleted)
                for each in (trio.created, trio.claimed):
                    await site.wait_begun(each, "begin-made", "first", 1)
                for name in ("slow", "quick"):
                    await site.wait_begun(deleted, "begin-unmade", name, 1)
                yield trio
        case "amid the apply":
            async with amid_apply(site, deleted) as trio:
                yield trio
        case "applied":
            async with amid_apply(site, deleted) as trio, frozen(site, "reconciler"):
                await end_apply(site)
                yield trio
        case "upload":
            async with (
                amid_apply(site, deleted) as trio,
                locked(site, "workspace_builds", "SHARE"),
            ):
                await end_apply(site)
                await wait_blocked(site, "workspace_builds", 3)
                yield trio
        case _:
            async with amid_apply(site, deleted) as trio, locked(site, "agents", "SHARE"):
                await end_apply(site)
                await wait_blocked(site, "agents", 3)
                yield trio


@asynccontextmanager
async def amid_apply(site: BuildSite, deleted: str) -> AsyncGenerator[Trio]:
    """Something is made or unmade, and something else is half made, or half unmade."""
    async with shut(site, "made-slow", "unmade-first"):
        trio = await site.ask(deleted)
        for each in (trio.created, trio.claimed):
            await site.wait_begun(each, "begin-made", "slow", 1)
            await site.wait_stored(each)
        await site.wait_begun(deleted, "begin-unmade", "first", 1)
        yield trio


async def end_apply(site: BuildSite) -> None:
    site.open()

    def look() -> None:
        assert not list_terraform(site.system)

    await eventually(look, seconds=PATIENCE_SECONDS)


@asynccontextmanager
async def shut(site: BuildSite, *gates: str) -> AsyncGenerator[None]:
    site.shut(*gates)
    try:
        yield
    finally:
        site.open()


@asynccontextmanager
async def waiting(site: BuildSite, gate: str) -> AsyncGenerator[None]:
    site.server.close(gate)
    try:
        yield
    finally:
        site.server.open(gate)


@asynccontextmanager
async def frozen(site: BuildSite, service: str) -> AsyncGenerator[None]:
    site.system.freeze(service)
    try:
        yield
    finally:
        site.system.thaw(service)


@asynccontextmanager
async def locked(site: BuildSite, table: str, mode: str) -> AsyncGenerator[None]:
    """Keeps others from a table until the block is left, or the database is gone."""
    connection = await asyncpg.connect(site.system.layout.database_url_file.read_text().strip())
    try:
        await connection.execute("BEGIN")
        await connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
        yield
    finally:
        connection.terminate()


async def wait_blocked(site: BuildSite, table: str, count: int) -> None:
    """Returns when so many wait for the table that has to do with jobs: one for each build."""
    await wait_number(
        site,
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted"
        f" AND relation = '{table}'::regclass AND query NOT LIKE '%last_seen_at = %'",
        count,
    )


async def wait_number(site: BuildSite, sql: str, at_least: int) -> None:
    async def look() -> None:
        assert await site.query(sql) >= at_least

    await eventually(look, seconds=PATIENCE_SECONDS)


async def wait_asked(site: BuildSite, paths: list[str]) -> None:
    def look() -> None:
        assert site.server.waiting() >= set(paths)

    await eventually(look, seconds=PATIENCE_SECONDS)
