"""Every service is replaced while agents wait and people claim, and nobody notices.

What is counted is asserted. How long an agent was without a stream depends on who else uses this
machine, and so does how long the old gateway took to send them all away: with many agents, the
first must be less than the second.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from testkit.command import Command

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RUN_SECONDS = 600
MANY = 500  # the old gateway takes seconds to send away as many, and each of them is gone for less


@pytest.mark.parametrize("agents", [40, pytest.param(MANY, marks=pytest.mark.long)])
async def test_an_upgrade_under_load_is_not_noticed(command: Command, agents: int):
    async with asyncio.timeout(RUN_SECONDS):
        ran = await command.run(
            *("demo", "--bluegreen", "--agents", str(agents)),
            *("--claims", str(max(1.5, agents / 125)), "--output", "json"),
        )

    assert ran.code == 0, ran.out + ran.err
    events: dict[str, Any] = {record["event"]: record for record in ran.records}
    replaced = {each["service"]: each for each in ran.records if each["event"] == "replaced"}
    summary = events["summary"]
    print(json.dumps(summary, indent=1))
    assert list(replaced) == ["reconciler", "agentgw", "provisionerd"]
    assert min(each["claimed"] for each in replaced.values()) > 0
    gateway = replaced["agentgw"]
    assert gateway["waiting"] > agents / 2
    assert gateway["reconnects"] + gateway["claims_heard"] >= gateway["waiting"]
    if agents >= MANY:
        assert 0 < summary["gap_p99_milliseconds"] <= summary["gap_bound_milliseconds"]
    assert summary["claims"] == summary["claims_applied"] > 0
    assert summary["requests"] > summary["claims"]
    noticed = (
        "agent_errors",
        "agents_missing",
        "agents_left_behind",
        "claims_lost",
        "claims_doubled",
        "requests_failed",
    )
    assert {name: summary[name] for name in noticed} == dict.fromkeys(noticed, 0)
    assert command.processes() == {}
