"""The system as processes: what comes up, in which files, and that nothing stays.

Postgres, nats-server and the supervision are real; the three services are stand-ins, one of which
starts a child in a session of its own, as a workspace's agent is.
"""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from embedded import (
    EmbeddedNats,
    EmbeddedPostgres,
    StartFailed,
    find_free_port,
    is_running,
)
from embedded.files import DirectoryLock
from svckit.system import SystemClock
from testkit.eventually import eventually
from warmpool.control.v1.system_pb2 import WhoAmIRequest
from warmpool_cli.connection import ConnectionFlags, resolve_connection
from warmpool_cli.demo.gateway import SupervisedGateway
from warmpool_cli.local.environment import LocalSettings
from warmpool_cli.local.layout import Layout
from warmpool_cli.local.system import GATEWAY, ServiceModules, run_local_system
from warmpool_cli.main import run

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
Server = EmbeddedPostgres | EmbeddedNats
STAND_INS = ServiceModules(
    reconciler="testkit.fake_control",
    provisionerd="testkit.fake_service",
    agentgw="testkit.fake_service",
)


def a_setting() -> LocalSettings:
    return LocalSettings(port=find_free_port(), agent_port=find_free_port(), metrics=False)


def others_may_read(root: Path) -> list[str]:
    secrets = [*(root / "secrets").iterdir(), root / "connection.json"]
    return [path.name for path in secrets if stat.S_IMODE(path.stat().st_mode) != 0o600]


async def test_everything_comes_up_is_private_and_goes(tmp_path: Path):
    layout = Layout(tmp_path / ".warmpool")
    steps: list[str] = []
    settings = a_setting()

    async with run_local_system(
        layout,
        settings,
        environ=os.environ,
        clock=CLOCK,
        report=lambda step, _seconds: steps.append(step),
        note=steps.append,
        modules=STAND_INS,
    ) as system:
        connection = resolve_connection(ConnectionFlags(), {}, tmp_path)
        me = await system.client.system.WhoAmI(WhoAmIRequest(), timeout=10)
        pids = [
            *(system.supervisor.pid_of(name) for name in ("reconciler", "provisionerd", GATEWAY)),
            *(int(path.read_text()) for path in layout.services.glob("*.orphan")),
        ]
        alive = [pid is not None and is_running(pid) for pid in pids]
        readable = others_may_read(layout.root)

    assert steps == [
        *("postgres", "nats-server", "reconciler", "provisionerd", "agentgw"),
        "provisioner connected",
    ]
    assert (me.username, connection.address) == ("admin", settings.address)
    assert readable == []
    assert alive == [True] * 5
    assert [pid for pid in pids if pid and is_running(pid)] == []
    assert not layout.connection_file.exists()


async def test_a_killed_gateway_comes_back_as_another_process(tmp_path: Path):
    async with run_local_system(
        Layout(tmp_path),
        a_setting(),
        environ=os.environ,
        clock=CLOCK,
        report=lambda _step, _seconds: None,
        note=lambda _line: None,
        modules=STAND_INS,
    ) as system:
        gateway = SupervisedGateway(system.supervisor, CLOCK)
        killed = gateway.kill()
        crash = await gateway.wait_back()
        serving = system.supervisor.pid_of(GATEWAY)

    assert crash.old_pid == killed
    assert crash.new_pid == serving
    assert serving != killed


async def test_postgres_and_nats_come_back_at_the_same_place(tmp_path: Path):
    notes: list[str] = []
    async with run_local_system(
        Layout(tmp_path),
        a_setting(),
        environ=os.environ,
        clock=CLOCK,
        report=lambda _step, _seconds: None,
        note=notes.append,
        modules=STAND_INS,
    ) as system:
        for server in (system.postgres, system.nats):
            old = (server.pid, server.url)
            os.kill(server.pid, signal.SIGKILL)

            def is_back(server: Server = server, old: tuple[int, str] = old) -> tuple[int, str]:
                assert server.pid not in (0, old[0])
                return server.pid, server.url

            assert (await eventually(is_back))[1] == old[1]
            await server.start()  # returns once it takes connections

    assert [note.partition(";")[0] for note in notes] == [
        "postgres ended with -9",
        "nats-server ended with -9",
    ]


async def test_a_second_up_leaves_the_first_alone_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / ".warmpool/postgres").mkdir(parents=True)
    lock = DirectoryLock(tmp_path / ".warmpool/postgres/lock")
    lock.acquire()
    monkeypatch.chdir(tmp_path)

    code = await run(["up"])

    lock.release()
    said = capsys.readouterr()
    assert (code, said.out) == (6, f"starting Warmpool in {tmp_path}/.warmpool\n")
    assert f"is in use by process {os.getpid()}" in said.err


async def test_a_service_that_does_not_come_up_takes_the_rest_down(tmp_path: Path):
    layout = Layout(tmp_path)
    modules = ServiceModules(reconciler="testkit.fake_control", provisionerd="no_such_module")

    with pytest.raises(StartFailed) as caught:
        async with run_local_system(
            layout,
            a_setting(),
            environ=os.environ,
            clock=CLOCK,
            report=lambda _step, _seconds: None,
            note=lambda _line: None,
            modules=modules,
        ):
            pytest.fail("it must not come up")

    assert "provisionerd" in str(caught.value)
    assert "no_such_module" in str(caught.value)
    working_in = [
        pid for pid in os.listdir("/proc") if pid.isdigit() and _works_in(int(pid), tmp_path)
    ]
    assert working_in == []


def _works_in(pid: int, directory: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(directory)
    except OSError:
        return False
