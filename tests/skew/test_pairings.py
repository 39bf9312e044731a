"""Every pairing of old and new services, for agents of both releases, in both forms of the claim
event, with the schema before the upgrade, after its *pre* steps and after its *post* steps.

One system lives through all pairings of a schema: each begins with prebuilds, agents and streams
that the one before left. Code of today never runs on the old schema: the database goes first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import product
from pathlib import Path

import pytest
import pytest_asyncio

from reconciler.store.db import open_database
from reconciler.store.migrate import migrate
from testkit.releases import TODAY, Code
from testkit.rollout import run_rollout
from testkit.skew import Skew, watch_skew

pytestmark = [pytest.mark.skew, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

RECONCILERS = {"before": ("old",), "pre": ("old", "new"), "post": ("new",)}
PAIRINGS = [
    (schema, reconciler, events, provisionerd, agentgw)
    for schema, reconcilers in RECONCILERS.items()
    for reconciler, events, provisionerd, agentgw in product(
        reconcilers, ("json", "raw"), ("old", "new"), ("old", "new")
    )
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def skew(previous: Code, short_directory: Path) -> AsyncGenerator[Skew]:
    """A system of the old release."""
    async with (
        run_rollout(short_directory, previous) as rollout,
        watch_skew(rollout, previous, TODAY) as skew,
    ):
        for service in ("reconciler", "provisionerd", "agentgw"):
            await rollout.start(service, previous)
        await skew.settle()
        yield skew


@pytest.mark.parametrize(("schema", "reconciler", "events", "provisionerd", "agentgw"), PAIRINGS)
async def test_a_pairing(
    skew: Skew,
    previous: Code,
    schema: str,
    reconciler: str,
    events: str,
    provisionerd: str,
    agentgw: str,
):
    rollout, code_of = skew.rollout, {"old": previous, "new": TODAY}
    if schema != "before":
        async with open_database(rollout.database_url, pool_max=1) as database:
            await migrate(database, post=schema == "post")
    raw = {"WARMPOOL_RECONCILER_CLAIM_EVENTS_RAW": str(events == "raw").lower()}
    await rollout.arrange("reconciler", code_of[reconciler], environ=raw)
    await rollout.arrange("provisionerd", code_of[provisionerd])
    if rollout.running["agentgw"] is not code_of[agentgw]:
        await skew.claim_across("agentgw", code_of[agentgw])
    await skew.scenario(raw=events == "raw")
