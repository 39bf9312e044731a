"""Every service is replaced while agents wait and people claim, and nobody notices.

What is counted is asserted. How long an agent was without a stream is printed: it depends on who
else uses this machine.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from testkit.command import Command

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RUN_SECONDS = 600


@pytest.mark.parametrize("agents", [40, pytest.param(500, marks=pytest.mark.long)])
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
    assert summary["reconnects"] > 0
    assert summary["claims"] == summary["claims_applied"] > 0
    assert summary["requests"] > summary["claims"]
    noticed = ("agent_errors", "claims_lost", "claims_doubled", "requests_failed")
    assert {name: summary[name] for name in noticed} == dict.fromkeys(noticed, 0)
    assert command.processes() == {}
