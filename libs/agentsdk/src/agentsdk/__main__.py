"""`warmpool-agent`: settings from the environment, then the agent until SIGTERM.

Exit codes: 0 after an orderly end, 1 after a defect, 2 if a setting is unusable.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

# Scripts must not inherit it, so it is taken before the next line changes it; and gRPC reads it
# when it is imported: without it, starting a script would run gRPC's own fork handlers.
_ENVIRON = dict(os.environ)
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from agentsdk.agent import Agent  # noqa: E402 - see above
from agentsdk.errors import SettingsInvalid  # noqa: E402 - see above
from agentsdk.gateway import read_version  # noqa: E402 - see above
from agentsdk.settings import AgentSettings, read_settings  # noqa: E402 - see above

_USAGE = """\
usage: warmpool-agent [--help | --version]

Runs the workspace agent. It takes its settings from the environment:
  WARMPOOL_AGENT_URL (or CODER_AGENT_URL)          http://host:port or https://host:port
  WARMPOOL_AGENT_TOKEN (or CODER_AGENT_TOKEN)      the agent's token
  WARMPOOL_AGENT_TOKEN_FILE                        a file that holds the token, instead
  WARMPOOL_AGENT_DIR                               memory and scripts (default: current directory)
  WARMPOOL_AGENT_CA_FILE                           certificates to trust instead of the machine's
  WARMPOOL_AGENT_CERT_FILE, WARMPOOL_AGENT_KEY_FILE  the agent's own certificate, for mTLS
  WARMPOOL_AGENT_ALLOW_PLAINTEXT                   true: http:// to another machine
  WARMPOOL_AGENT_SHUTDOWN_SECONDS                  longest orderly end (default: 8)
"""


def main() -> int:
    """Runs the agent; returns the exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--help"]:
        sys.stdout.write(_USAGE)
        return 0
    if arguments == ["--version"]:
        sys.stdout.write(f"warmpool-agent {read_version()}\n")
        return 0
    if arguments:
        sys.stderr.write(f"{arguments[0]}: unknown argument\n{_USAGE}")
        return 2
    try:
        settings = read_settings(_ENVIRON, Path.cwd())
        _make_directory(settings.directory)
        asyncio.run(_run(settings))
    except SettingsInvalid as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except asyncio.CancelledError:
        return 1
    return 0


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsInvalid(
            "WARMPOOL_AGENT_DIR", f"cannot be used ({error})", "a directory, or a path for one"
        ) from error


async def _run(settings: AgentSettings) -> None:
    """The agent under signals: the first asks for an orderly end, the second ends it at once."""
    agent = Agent(settings)
    task = asyncio.current_task()
    signals_seen = 0

    def take_signal() -> None:
        nonlocal signals_seen
        signals_seen += 1
        agent.stop()
        if signals_seen > 1 and task is not None:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, take_signal)
    await agent.run()


if __name__ == "__main__":
    sys.exit(main())
