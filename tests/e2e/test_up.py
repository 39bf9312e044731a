"""`warmpool up` and the commands people use with it, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import warmpool_cli
from testkit.command import Command
from testkit.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
STEPS = ["requested", "claimed", "built", "delivered", "applied"]
EXAMPLE = Path(warmpool_cli.__file__).parents[4] / "examples" / "process"


@dataclass(frozen=True, slots=True)
class Up:
    """A system that `warmpool up` runs, and what it said of itself."""

    command: Command
    process: asyncio.subprocess.Process
    said: dict[str, Any]

    async def document(self, *arguments: str) -> Any:
        """Runs a command that must go well, and returns what it printed."""
        ran = await self.command.run(*arguments, "-o", "json")
        assert ran.code == 0, f"{arguments}: {ran.err}"
        return ran.document


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(unprivileged: Command) -> AsyncGenerator[Up]:
    """One system without any rights for the whole module."""
    process = await unprivileged.start("up", "-o", "json")
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        _, errors = await process.communicate()
        pytest.fail(errors.decode())
    yield Up(unprivileged, process, json.loads(line))
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def test_it_says_where_it_is(up: Up):
    assert (up.said["pid"], up.said["directory"]) == (
        up.process.pid,
        str(up.command.directory / ".warmpool"),
    )
    assert "process" in up.said["provisioner_types"]


async def test_a_workspace_from_the_push_to_its_end(up: Up):
    run = up.document
    pushed = await run("template", "push", str(EXAMPLE), "--name", "example")

    async def find_pool() -> Any:
        (pool,) = (await run("pool", "list"))["pools"]
        assert (pool["eligible"], pool["desired"]) == (2, 2)
        return pool

    await eventually(find_pool)
    created = await run("create", "example", "--name", "mine")
    shown = await run("show", "mine")
    listed = await run("list")
    logs = await up.command.run("logs", "mine")
    home = Path(up.said["directory"]) / "provisioner/workspaces" / shown["id"] / "home"
    owner = (home / "project/owner.txt").read_text()
    deleted = await run("delete", "mine")
    gone = await up.command.run("show", "mine")

    assert (pushed["version"]["name"], pushed["version"]["active"]) == ("v1", True)
    assert (created["warm"], created["pool_miss"]) == (True, None)
    assert [step["step"] for step in created["timeline"] if step["at"]] == STEPS
    assert (shown["owner_name"], shown["latest_build"]["reason"]) == ("admin", "claim")
    assert owner == "workspace of admin\n"
    assert [each["id"] for each in listed["workspaces"]] == [shown["id"]]
    assert (logs.code, "Every agent runs already and is left alone." in logs.out) == (0, True)
    assert "deleted_at" in deleted["workspace"]
    assert (gone.code, gone.err.splitlines()[0]) == (
        5,
        'error: name: there is no workspace "mine" [WORKSPACE_UNKNOWN]',
    )
    assert not home.exists()


async def test_ctrl_c_ends_every_process_and_keeps_the_files(up: Up):
    during = up.command.processes()

    up.process.send_signal(signal.SIGINT)
    _, errors = await up.process.communicate()

    assert len(during) > 5
    assert up.process.returncode == 130
    assert errors.decode().splitlines()[0] == "error: interrupted by SIGINT"
    assert up.command.processes() == {}
    assert up.command.files() == [".warmpool"]
    assert not (up.command.directory / ".warmpool/connection.json").exists()


async def test_what_a_killed_system_left_is_taken_up_by_the_next(command: Command):
    killed = await command.start("up", "-o", "json")
    assert killed.stdout is not None
    assert await killed.stdout.readline()
    push = await command.run("template", "push", str(EXAMPLE), "--name", "example", "-o", "json")
    created = await command.run("create", "example", "--name", "mine", "-o", "json")
    killed.kill()
    await killed.wait()

    again = await command.start("up", "-o", "json")
    assert again.stdout is not None
    assert await again.stdout.readline()
    shown = await command.run("show", "mine", "-o", "json")
    again.send_signal(signal.SIGINT)
    _, errors = await again.communicate()

    assert (push.code, created.code, shown.code) == (0, 0, 0), f"{push}, {created}, {shown}"
    assert shown.document["id"] == created.document["workspace"]["id"]
    assert again.returncode == 130, errors
    assert command.processes() == {}
