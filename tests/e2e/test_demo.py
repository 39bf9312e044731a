"""`warmpool demo` as people run it: it ends well, and nothing is left however it ends."""

from __future__ import annotations

import json
import shutil
import signal
from typing import Any

import pytest

from testkit.command import Command, Ran

pytestmark = pytest.mark.e2e
STEPS = ["requested", "claimed", "built", "delivered", "applied"]
TERRAFORM = shutil.which("terraform") or shutil.which("tofu")


def check_story(ran: Ran, provisioner_type: str) -> None:
    assert ran.code == 0, ran.err
    records = ran.records
    told = [record["event"] for record in records if record["event"] not in ("pool", "restarted")]
    assert told == [
        "example",
        *["started"] * 6,
        *("template_imported", "claimed", "applied", "claimed"),
        *("gateway_killed", "gateway_back", "applied", "claim_survived", "summary", "done"),
    ]
    assert records[0]["provisioner_type"] == provisioner_type
    for applied in (record for record in records if record["event"] == "applied"):
        timeline = applied["timeline"]
        moments = [step["milliseconds"] for step in timeline]
        assert [step["step"] for step in timeline] == STEPS
        assert moments == sorted(moments)
    killed, back = (
        next(record for record in records if record["event"] == name)
        for name in ("gateway_killed", "gateway_back")
    )
    assert killed["pid"] != back["pid"]
    pools = [record for record in records if record["event"] == "pool"]
    assert (pools[-1]["ready"], pools[-1]["claimed"]) == (pools[-1]["desired"], 2)


@pytest.mark.terraform
async def test_the_demo_with_terraform(command: Command):
    ran = await command.run("demo", "--provisioner", "terraform", "-o", "json")

    check_story(ran, "terraform")
    assert (command.processes(), command.files()) == ({}, [])


async def test_the_demo_with_processes_and_without_any_rights(unprivileged: Command):
    ran = await unprivileged.run("demo", "--provisioner", "process", "-o", "json")

    check_story(ran, "process")
    assert (unprivileged.processes(), unprivileged.files()) == ({}, [])


@pytest.mark.parametrize("moment", ["started", "gateway_killed"])
async def test_ctrl_c_leaves_nothing(command: Command, moment: str):
    demo = await command.start("demo", "--provisioner", "process", "-o", "json")
    assert demo.stdout is not None
    event: Any = {}
    while event.get("event") != moment:
        event = json.loads(await demo.stdout.readline())
    during = command.processes()

    demo.send_signal(signal.SIGINT)
    _, errors = await demo.communicate()

    assert during != {}
    assert (demo.returncode, errors.decode().splitlines()[0]) == (
        130,
        "error: interrupted by SIGINT",
    )
    assert (command.processes(), command.files()) == ({}, [])
