"""One running system for the session, and the command as a subprocess."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from testkit.command import Command
from testkit.system import RunningSystem, run_system

NOBODY = 65534
SERVICES = ("reconciler", "provisionerd", "agentgw")
LINES_MAX = 20


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds to a failure what the services last warned of: their logs go with the directory."""
    report = yield
    system = item.funcargs.get("running_system")
    if report.failed and isinstance(system, RunningSystem):
        for name in SERVICES:
            lines = [
                line
                for line in system.service_log(name).splitlines()
                if '"level": "INFO"' not in line
            ]
            report.sections.append((f"warnings of {name}", "\n".join(lines[-LINES_MAX:])))
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_system() -> AsyncGenerator[RunningSystem]:
    """Everything as processes. Tests share it: push templates of your own, mend what you break."""
    directory = Path(tempfile.mkdtemp(prefix="warmpool-e2e-"))
    try:
        async with run_system(directory) as system:
            yield system
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def make_command() -> Generator[Callable[[int], Command]]:
    """Makes commands with directories that their users can reach."""
    made: list[Command] = []

    def make(user: int) -> Command:
        directory = Path(tempfile.mkdtemp(prefix="warmpool-command-"))
        os.chown(directory, user, -1)
        made.append(Command(directory, user))
        return made[-1]

    yield make
    for command in made:
        for pid in command.processes():  # only a test that failed leaves any
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(command.directory)


@pytest.fixture
def command(make_command: Callable[[int], Command]) -> Command:
    """The command as ourselves."""
    return make_command(os.geteuid())


@pytest.fixture(scope="module")
def unprivileged(make_command: Callable[[int], Command]) -> Command:
    """The command as a user without any rights; as ourselves if we have none to give away."""
    return make_command(NOBODY if os.geteuid() == 0 else os.geteuid())
