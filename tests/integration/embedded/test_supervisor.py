"""The supervisor: ready means ready, the dead come back, and nobody is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from embedded import DirectoryInUse, StartFailed, Supervisor, is_running
from testkit.eventually import eventually

pytestmark = pytest.mark.integration

# A service: listens, writes its port file, and appends what befalls it to a journal.
SERVICE = """
import os, signal, socket, sys, pathlib
name = os.environ["NAME"]
journal = open(os.environ["JOURNAL"], "a", buffering=1)
if os.environ.get("BROKEN"):
    sys.exit("the database is on fire")
def end(*_):
    print("end", name, file=journal)
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("STUBBORN") else end)
listener = socket.create_server(("127.0.0.1", 0))
file = pathlib.Path(os.environ["PORT_FILE"])
file.with_suffix(".new").write_text(f"{listener.getsockname()[1]}\\n")
file.with_suffix(".new").replace(file)
while True:
    signal.pause()
"""
# An agent: a grandchild in a session of its own, with a parent that is gone.
AGENT = """
import os, sys, signal
if os.fork() or (os.setsid() and os.fork()):
    os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
signal.pause()
"""
OWNER = """
import asyncio, pathlib, sys
from embedded import Supervisor
async def main():
    directory = pathlib.Path(sys.argv[1])
    async with Supervisor(directory, {"JOURNAL": str(directory / "journal")}) as supervisor:
        file = directory / "one.port"
        await supervisor.start_service("one", "service", {"NAME": "one", "PORT_FILE": str(file)},
                                       port_file=file)
        print(supervisor.pid_of("one"), supervisor.instance, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


class Lab:
    """A supervisor and where its services write."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reports: list[str] = []
        self.journal = directory / "journal"
        self.supervisor = Supervisor(
            directory / "system",
            {"PYTHONPATH": str(directory), "JOURNAL": str(self.journal)},
            report=self.reports.append,
        )

    async def start(self, name: str, **env: str) -> int:
        file = self.directory / f"{name}.port"
        return await self.supervisor.start_service(
            name,
            "service",
            {"NAME": name, "PORT_FILE": str(file), **env},
            port_file=file,
        )


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncGenerator[Lab]:
    (tmp_path / "service.py").write_text(SERVICE)
    lab = Lab(tmp_path)
    yield lab
    await lab.supervisor.stop()


async def test_services_are_ready_when_started_and_end_in_reverse_order(lab: Lab) -> None:
    for name in ("one", "two", "three"):
        port = await lab.start(name)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    await lab.supervisor.stop()
    await lab.supervisor.stop()
    assert lab.journal.read_text().splitlines() == ["end three", "end two", "end one"]
    assert lab.reports == []


@pytest.mark.parametrize(("how", "code"), [("kill", -9), ("terminate", 0)])
async def test_a_service_that_ended_comes_back(lab: Lab, how: str, code: int) -> None:
    await lab.start("one")
    first = lab.supervisor.pid_of("one")
    getattr(lab.supervisor, how)("one")

    def check() -> None:
        assert lab.reports

    await eventually(check)
    port = await lab.supervisor.wait_ready("one")
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    assert lab.supervisor.pid_of("one") not in (None, first)
    (report,) = lab.reports
    assert report.startswith(f"one ended with {code}; it is started again now")


async def test_one_that_keeps_ending_is_given_growing_pauses(lab: Lab) -> None:
    await lab.start("one")
    for count in (1, 2, 3):
        lab.supervisor.kill("one")

        def check(count: int = count) -> None:
            assert len(lab.reports) == count

        await eventually(check)
        await lab.supervisor.wait_ready("one")
    assert [report.partition("again ")[2].partition(" (")[0] for report in lab.reports] == [
        "now",
        "in 0.2 s",
        "in 0.4 s",
    ]


async def test_a_service_that_cannot_start_is_quoted_and_not_repeated(lab: Lab) -> None:
    with pytest.raises(StartFailed, match=r"(?s)bad ended with 1 before.*database is on fire"):
        await lab.start("bad", BROKEN="1")
    assert await lab.start("bad") > 0


async def test_a_stubborn_or_frozen_service_is_ended_after_its_grace(lab: Lab) -> None:
    await lab.start("stubborn", STUBBORN="1")
    await lab.start("frozen")
    pids = [lab.supervisor.pid_of(name) or 0 for name in ("stubborn", "frozen")]
    lab.supervisor.freeze("frozen")
    await lab.supervisor.stop(grace_seconds=0.5)
    assert [is_running(pid) for pid in pids] == [False, False]
    assert lab.journal.read_text() == "end frozen\n"


async def test_what_left_its_session_and_parent_is_found_in_the_end(lab: Lab) -> None:
    await lab.start("one")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        AGENT,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "WARMPOOL_INSTANCE": lab.supervisor.instance},
    )
    agent = int((await process.communicate())[0])
    assert is_running(agent)
    await lab.supervisor.stop()
    assert not is_running(agent)


async def test_a_stop_that_is_cancelled_ends_everything_at_once(lab: Lab) -> None:
    await lab.start("stubborn", STUBBORN="1")
    pid = lab.supervisor.pid_of("stubborn") or 0
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(lab.supervisor.stop())
        await asyncio.sleep(0)
        stopping.cancel()
    assert not is_running(pid)


def test_what_a_killed_run_left_behind_is_ended_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as owner:
        assert owner.stdout is not None
        service, instance = owner.stdout.readline().split()
        with subprocess.Popen(
            [sys.executable, "-c", AGENT],
            stdout=subprocess.PIPE,
            env={**os.environ, "WARMPOOL_INSTANCE": instance},
        ) as starter:
            assert starter.stdout is not None
            agent = int(starter.stdout.readline())
        owner.kill()

    async def next_run() -> None:
        async with Supervisor(tmp_path) as supervisor:
            assert supervisor.instance == instance
            assert not is_running(agent)
            assert not is_running(int(service))
            with pytest.raises(DirectoryInUse):
                await Supervisor(tmp_path).prepare()

    asyncio.run(next_run())


def test_ctrl_c_reaches_the_supervisor_alone_and_ends_in_order(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as owner:
        assert owner.stdout is not None
        service, _ = owner.stdout.readline().split()
        os.killpg(owner.pid, signal.SIGINT)
    assert not is_running(int(service))
    assert (tmp_path / "journal").read_text() == "end one\n"
