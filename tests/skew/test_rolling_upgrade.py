"""An upgrade from the release before this one: step by step, and with both side by side."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator

import pytest

from embedded import find_free_port
from reconciler.store.db import open_database
from reconciler.store.migrate import migrate
from testkit.releases import TODAY, Code
from testkit.rollout import Rollout, run_rollout
from testkit.skew import Skew, watch_skew

pytestmark = [pytest.mark.skew, pytest.mark.timeout(300)]

COMMAND_SECONDS = 30


@pytest.fixture
async def skew(previous: Code, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Skew]:
    """Nothing runs yet but Postgres and NATS; agents are of both releases."""
    async with (
        run_rollout(tmp_path_factory.mktemp("s"), previous) as rollout,
        watch_skew(rollout, previous, TODAY) as skew,
    ):
        yield skew


async def test_an_upgrade_step_by_step(skew: Skew, previous: Code):
    """In the order of docs/upgrades.md."""
    rollout = skew.rollout
    await rollout.start("reconciler", previous)
    await rollout.start("provisionerd", previous)
    await rollout.start("agentgw", previous)
    await skew.settle()

    async with open_database(rollout.database_url, pool_max=1) as database:
        await migrate(database)
        await skew.scenario()

        await rollout.arrange("reconciler", TODAY)
        await skew.scenario()
        await skew.claim_across("agentgw", TODAY)
        await skew.scenario()

        await rollout.arrange("provisionerd", TODAY)
        await migrate(database, post=True)
        await skew.scenario()


async def test_both_releases_side_by_side(skew: Skew, previous: Code):
    """Two of each service. Each is connected to the reconciler of the other release, the gateways
    share their port, and claims come in through both reconcilers.
    """
    rollout = skew.rollout
    async with open_database(rollout.database_url, pool_max=1) as database:
        await rollout.start("reconciler", previous)
        await migrate(database)
    other = f"127.0.0.1:{find_free_port()}"
    await rollout.start(
        "reconciler", TODAY, name="reconciler-2", environ={"WARMPOOL_RECONCILER_LISTEN": other}
    )
    towards = {previous: other, TODAY: rollout.system.settings.address}
    for number, (code, address) in enumerate(towards.items(), start=1):
        await rollout.start(
            "agentgw",
            code,
            name=f"agentgw-{number}",
            environ={
                "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": address,
                "WARMPOOL_AGENTGW_REUSE_PORT": "true",
            },
        )
        await rollout.start(
            "provisionerd",
            code,
            name=f"provisionerd-{number}",
            environ={
                "WARMPOOL_PROVISIONERD_RECONCILER_ADDRESS": address,
                "WARMPOOL_PROVISIONERD_DATA_DIR": str(rollout.system.layout.root / f"p{number}"),
            },
        )

    async with rollout.connect(other) as through_new:
        async with asyncio.TaskGroup() as group:
            for each in (rollout.system, through_new):
                group.create_task(skew.crowd(each, size=4))
        for address in towards.values():
            await use_old_command(rollout, previous, address, await skew.pool_of(previous))


async def use_old_command(rollout: Rollout, previous: Code, address: str, template: str) -> None:
    """Who has not upgraded the command can go on using it."""
    await rollout.system.wait_warm(template)
    token = rollout.system.layout.owner_token_file
    for arguments in (
        ("create", template, "--name", "mine"),
        ("show", "mine"),
        ("delete", "mine"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "warmpool_cli"),
            *(*arguments, "--address", address, "--token-file", str(token)),
            env={**previous.environment, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(COMMAND_SECONDS):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
