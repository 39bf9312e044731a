"""`python -m agentsdk` as a process: settings, signals, and a violent end during a claim."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from testkit.fake_agent_gateway import FakeAgentGateway

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 20.0


@asynccontextmanager
async def agent_process(
    env: dict[str, str],
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The agent, with this environment and a PATH; terminated at the end if still there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agentsdk",
        env={"PATH": os.environ["PATH"], **env},
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def end_of(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """The exit code and what was said on standard error."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, said = await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(
    number: signal.Signals, gateway: FakeAgentGateway, tmp_path: Path
) -> None:
    gateway.add_script("start", "echo hello")
    gateway.add_script("stop", "echo good-bye", on_stop=True)
    async with agent_process(
        {
            "CODER_AGENT_URL": f"http://127.0.0.1:{gateway.port}/",
            "CODER_AGENT_TOKEN": "the-token",
            "WARMPOOL_AGENT_DIR": str(tmp_path / "made"),
        }
    ) as process:
        await gateway.until(lambda fake: "READY" in fake.states() and fake.open_streams == 1)
        process.send_signal(number)
        code, said = await end_of(process)
    assert code == 0
    assert gateway.states() == ["STARTING", "READY", "SHUTTING_DOWN", "OFF"]
    assert [line.text for line in gateway.lines] == ["hello", "good-bye"]
    assert gateway.tokens == {"the-token"}
    assert "the-token" not in said


async def test_a_signal_before_the_first_answer_ends_it(tmp_path: Path) -> None:
    """The gateway's address accepts connections and never says anything."""
    connected = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with agent_process(
            {
                "WARMPOOL_AGENT_URL": f"http://127.0.0.1:{port}",
                "WARMPOOL_AGENT_TOKEN": "the-token",
                "WARMPOOL_AGENT_DIR": str(tmp_path),
                "WARMPOOL_AGENT_SHUTDOWN_SECONDS": "0.5",
            }
        ) as process:
            await connected.wait()
            process.send_signal(signal.SIGTERM)
            code, _ = await end_of(process)
    assert code == 0


async def test_killed_while_it_applies_a_claim_it_finishes_when_started_again(
    gateway: FakeAgentGateway, tmp_path: Path
) -> None:
    """GIVEN a claim whose start script hangs WHEN the agent is killed and started again THEN the
    claim is applied, and its memory is the owner's alone.
    """
    token_file = tmp_path / "token"
    token_file.write_text("the-token\n")
    env = {
        "WARMPOOL_AGENT_URL": f"http://127.0.0.1:{gateway.port}",
        "WARMPOOL_AGENT_TOKEN_FILE": str(token_file),
        "WARMPOOL_AGENT_DIR": str(tmp_path),
        "TMPDIR": str(tmp_path),  # what the kill leaves behind goes with the test's directory
    }
    async with agent_process(env) as process:
        await gateway.until(lambda fake: "READY" in fake.states() and fake.open_streams == 1)
        gateway.add_script("hang", "mkfifo go; cat go > /dev/null")
        gateway.claim("claim-1", "alice")
        await gateway.until(lambda fake: fake.states()[-1] == "STARTING" and len(fake.acks) == 1)
        process.kill()
        await end_of(process)
    assert gateway.phases() == [("claim-1", "APPLYING")]

    del gateway.manifest.scripts[:]
    async with agent_process(env) as process:
        await gateway.until(lambda fake: ("claim-1", "APPLIED") in fake.phases())
        process.send_signal(signal.SIGTERM)
        assert (await end_of(process))[0] == 0
    (tmp_path / "go").write_text("")
    memory = tmp_path / "warmpool-agent.json"
    assert memory.stat().st_mode & 0o777 == 0o600
    assert '"applied"' in memory.read_text()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            {},
            "WARMPOOL_AGENT_URL: is not set; allowed: http://host:port or https://host:port\n",
        ),
        (
            {"WARMPOOL_AGENT_URL": "http://127.0.0.1:1"},
            "WARMPOOL_AGENT_TOKEN: is not set; "
            "allowed: a token here, or WARMPOOL_AGENT_TOKEN_FILE naming its file\n",
        ),
    ],
)
async def test_an_unusable_setting_is_one_line_and_exit_2(env: dict[str, str], said: str) -> None:
    async with agent_process(env) as process:
        assert await end_of(process) == (2, said)
