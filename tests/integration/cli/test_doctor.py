"""doctor: one line a look, a fix where one is needed, a failure only for what stands in the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from testkit.fake_control import FakeControl
from warmpool.control.v1.system_pb2 import Check, GetSystemResponse, ProvisionerWorker

pytestmark = pytest.mark.integration
Cli = Callable[..., Awaitable[Any]]


def a_system(*checks: Check) -> GetSystemResponse:
    system = GetSystemResponse(
        version="0.1.0",
        checks=checks,
        provisioners=[ProvisionerWorker(name="local", provisioner_types=["process"])],
    )
    system.now.FromDatetime(datetime.now(UTC))
    system.provisioners[0].last_seen_at.CopyFrom(system.now)
    return system


async def test_a_machine_without_a_control_plane_is_well_with_a_warning(warmpool: Cli):
    ran = await warmpool("doctor", "--output", "json")

    found = {finding["name"]: finding for finding in ran.document["findings"]}
    assert (ran.code, ran.document["ok"]) == (0, True)
    assert list(found) == [
        *("python", "services", "terraform", "disk", "ports", "open files", "connection"),
    ]
    assert (found["python"]["verdict"], found["connection"]["verdict"]) == ("ok", "warn")
    assert "warmpool up" in found["connection"]["fix"]


async def test_what_the_control_plane_says_is_shown(cli: Cli, control: FakeControl):
    control.on("GetSystem", a_system(Check(name="postgres", ok=True, message="answers in 1 ms")))

    ran = await cli("doctor")

    assert ran.code == 0
    assert ["ok", "postgres", "answers", "in", "1", "ms"] in [
        s.split() for s in ran.out.splitlines()
    ]
    assert ran.out.splitlines()[-1] == "Nothing stands in the way."


async def test_a_check_that_fails_is_a_failure_of_the_command(cli: Cli, control: FakeControl):
    control.on("GetSystem", a_system(Check(name="nats", message="not connected")))

    ran = await cli("doctor", "-o", "json")

    assert (ran.code, ran.document["ok"]) == (1, False)
    assert ran.err.splitlines()[0] == "error: not well: nats"


async def test_a_control_plane_that_does_not_answer_is_a_finding(cli: Cli):
    ran = await cli("doctor", "-o", "json")

    [finding] = [f for f in ran.document["findings"] if f["name"] == "control plane"]
    assert (ran.code, finding["verdict"]) == (1, "fail")
    assert finding["message"] == "GetSystem is not scripted"
