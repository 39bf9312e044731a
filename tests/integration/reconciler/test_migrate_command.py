"""`python -m reconciler migrate`, and a reconciler that leaves the schema to it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping

import asyncpg
import pytest

from reconciler.store.migrate import list_migrations
from testkit.postgres import DatabaseFactory

pytestmark = pytest.mark.integration

NAMES = [migration.name for migration in list_migrations()]


async def run(*argv: str, url: str) -> tuple[int, list[Mapping[str, object]]]:
    """Exit code and log of a reconciler that ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "reconciler", *argv, "--allow-plain-state"),
        env={"WARMPOOL_RECONCILER_DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in output.splitlines()]


async def read_applied(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT name FROM schema_migrations ORDER BY number")
    finally:
        await connection.close()
    return [row["name"] for row in rows]


async def test_the_command_brings_the_schema_up_to_date_and_ends(
    database: DatabaseFactory,
) -> None:
    url = await database()

    code, log = await run("migrate", url=url)
    again, log_again = await run("migrate", "--post", url=url)

    assert (code, again) == (0, 0)
    assert [line["name"] for line in log if "applied" in str(line["message"])] == NAMES
    assert not [line for line in log_again if "applied" in str(line["message"])]
    assert await read_applied(url) == NAMES


async def test_a_reconciler_that_may_not_migrate_does_not_serve_on_an_older_schema(
    database: DatabaseFactory,
) -> None:
    url = await database()

    code, log = await run("--migrate=false", url=url)

    assert code == 1
    [why] = [line["reason"] for line in log if line["level"] == "ERROR"]
    assert why == (
        f"the schema lacks {', '.join(NAMES)}: run `python -m reconciler migrate` first, or"
        " set migrate"
    )
    with pytest.raises(asyncpg.UndefinedTableError):
        await read_applied(url)
