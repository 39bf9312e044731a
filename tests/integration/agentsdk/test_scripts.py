"""How an agent runs scripts, and what the gateway hears of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import grpc
import pytest

from testkit.fake_agent_gateway import Ended, FakeAgentGateway

pytestmark = pytest.mark.integration


class RunningAgent(Protocol):
    def stop(self) -> None: ...


StartAgent = Callable[..., AbstractAsyncContextManager[RunningAgent]]


def texts(fake: FakeAgentGateway) -> list[str]:
    return [line.text for line in fake.lines]


async def test_scripts_see_their_owner_and_not_the_token(
    gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    gateway.manifest.env["GREETING"] = "hello"
    gateway.manifest.directory = "project"
    gateway.add_script("env", "env; pwd; echo the-token; echo oops >&2")
    async with start_agent():
        await gateway.until(lambda fake: "oops" in texts(fake))
    lines = texts(gateway)
    assert {"GREETING=hello", "CODER_WORKSPACE_OWNER_NAME=prebuilds", "CODER=true"} <= set(lines)
    assert not [line for line in lines if "the-token" in line]
    assert str(tmp_path / "project") in lines
    assert "***" in lines
    assert [line.sequence for line in gateway.lines] == list(range(1, len(lines) + 1))
    assert {line.stage for line in gateway.lines} == {"env"}


async def test_a_script_may_name_its_interpreter(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.add_script("bash", "#!/usr/bin/env bash\nwords=(one two)\necho ${words[1]}")
    async with start_agent():
        await gateway.until(lambda fake: texts(fake) == ["two"] and "READY" in fake.states())


@pytest.mark.parametrize(
    ("script", "timeout_seconds", "lifecycle", "error"),
    [
        ("exit 3", 0, "START_ERROR", "script 'it' ended with exit code 3"),
        ("kill -9 $$", 0, "START_ERROR", "script 'it' was ended by signal 9"),
        ("sleep 1000", 1, "START_TIMEOUT", "script 'it' exceeded its 1 seconds"),
    ],
)
async def test_a_start_that_fails_is_a_lifecycle(
    script: str,
    timeout_seconds: int,
    lifecycle: str,
    error: str,
    gateway: FakeAgentGateway,
    start_agent: StartAgent,
) -> None:
    gateway.add_script("it", script, timeout_seconds=timeout_seconds)
    async with start_agent():
        await gateway.until(lambda fake: lifecycle in fake.states() and error in texts(fake))
    assert gateway.states()[:2] == ["STARTING", lifecycle]
    assert gateway.lifecycles[1].error == error


async def test_a_missing_interpreter_is_a_failed_start(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.add_script("it", "#!/nowhere/sh\ntrue")
    async with start_agent():
        await gateway.until(lambda fake: "START_ERROR" in fake.states())
    assert gateway.lifecycles[1].error.startswith("script 'it' could not be started:")


async def test_scripts_run_at_once(gateway: FakeAgentGateway, start_agent: StartAgent) -> None:
    gateway.add_script("one", "mkfifo pipe 2>/dev/null; echo x > pipe")
    gateway.add_script("two", "mkfifo pipe 2>/dev/null; cat pipe")
    async with start_agent():
        await gateway.until(lambda fake: "READY" in fake.states())


async def test_a_log_path_takes_the_output(
    gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    gateway.add_script("it", "echo kept; echo too >&2", log_path="logs/it.log")
    async with start_agent():
        await gateway.until(lambda fake: "READY" in fake.states())
    assert (tmp_path / "logs/it.log").read_text() == "kept\ntoo\n"
    assert gateway.lines == []


async def test_what_a_script_leaves_behind_lives_on_and_ends_with_the_agent(
    gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    gateway.add_script("daemon", "sleep 1000 >/dev/null 2>&1 & echo $! > pid")
    async with start_agent():
        await gateway.until(lambda fake: "READY" in fake.states())
        pid = int((tmp_path / "pid").read_text())
        gateway.claim("claim-1", "alice")
        await gateway.until(lambda fake: len(fake.acks) == 2)
        os.kill(pid, 0)
        second = int((tmp_path / "pid").read_text())
    for left in (pid, second):
        assert not is_running(left)


async def test_stop_scripts_that_hang_do_not_hold_up_the_end(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    gateway.add_script("hang", "trap '' TERM; while :; do sleep 1000; done", on_stop=True)
    async with start_agent(shutdown_seconds=0.8) as agent:
        await gateway.until(lambda fake: "READY" in fake.states())
        agent.stop()
        await gateway.until(lambda fake: fake.states()[-1] == "OFF")
    assert gateway.states() == ["STARTING", "READY", "SHUTTING_DOWN", "OFF"]


async def test_lines_that_find_no_room_are_dropped_and_counted(
    gateway: FakeAgentGateway, start_agent: StartAgent
) -> None:
    """GIVEN room for 10 lines and a gateway that takes none WHEN a script writes 100 THEN the first
    10 arrive, and one line that says how many are missing.
    """
    gateway.failures["SendLogs"].extend([Ended(code=grpc.StatusCode.UNAVAILABLE)] * 2)
    gateway.add_script("chatty", "seq 1 100")
    async with start_agent(log_lines_max=10, fast_initial_seconds=1.0, fast_maximum_seconds=1.0):
        await gateway.until(lambda fake: len(fake.lines) == 11)
    assert texts(gateway) == [
        *(str(number) for number in range(1, 11)),
        "90 lines were dropped here: the gateway was slower than the scripts",
    ]
    assert [line.sequence for line in gateway.lines] == list(range(1, 12))


async def test_a_full_log_ends_the_sending(
    gateway: FakeAgentGateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    gateway.logs_are_full = True
    gateway.add_script("first", "echo one; mkfifo go; cat go; echo two")
    async with start_agent():
        await gateway.until(lambda fake: texts(fake) == ["one"])
        (tmp_path / "go").write_text("")
        await gateway.until(lambda fake: "READY" in fake.states())
    assert texts(gateway) == ["one"]


def is_running(pid: int) -> bool:
    """False for a process that is gone or only waits for its parent to notice."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
