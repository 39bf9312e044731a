"""Real processes: output, limits, and every way of being asked to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provisionerd.commands.run import Command, Limits, Outcome, run
from provisionerd.core.errors import ProvisionError
from provisionerd.core.provisioner import Cancel

pytestmark = pytest.mark.integration

# Says "ready" once its handler is in place; what it does on an interrupt is its argument.
STUBBORN = """
import os, signal, sys, time
on_interrupt = sys.argv[1]
def say(line):
    os.write(1, line.encode() + b"\\n")  # print cannot be interrupted by itself
def interrupted(number, frame):
    say("interrupted")
    if on_interrupt == "obey":
        sys.exit(1)
signal.signal(signal.SIGINT, interrupted)
child = os.fork()
if child == 0:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
say(f"pid {os.getpid()}")
while True:
    time.sleep(0.05)  # a signal just before it is answered after it
"""

# Writes its file anew again and again, and takes its time between truncating and filling it.
WRITER = """
import os, sys, time
path = sys.argv[1]
while True:
    with open(path, "w") as file:
        os.write(1, b"amid a write\\n")
        time.sleep(0.05)
        file.write("whole")
    time.sleep(0.02)
"""


def _limits(*, timeout: float = 30.0, grace: float = 30.0, width: int = 100) -> Limits:
    return Limits(
        timeout_seconds=timeout,
        interrupt_grace_seconds=grace,
        shutdown_grace_seconds=grace,
        line_bytes_max=width,
    )


class _Watched:
    """A running `run`, and the pids it announced."""

    def __init__(self) -> None:
        self.cancel = Cancel()
        self.lines: list[str] = []
        self.both_ready = asyncio.Event()
        self.interrupted = asyncio.Event()

    def take(self, line: str) -> None:
        self.lines.append(line)
        if len(self.pids) == 2:
            self.both_ready.set()
        if line == "interrupted":
            self.interrupted.set()

    @property
    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.lines if line.startswith("pid ")]

    @property
    def leader(self) -> int:
        """The command itself; the other one is its child."""
        (leader,) = {os.getpgid(pid) for pid in self.pids}
        return leader

    async def run(self, on_interrupt: str, limits: Limits) -> Outcome:
        argv = (sys.executable, "-S", "-c", STUBBORN, on_interrupt)
        command = Command(argv=argv, cwd=Path("/"), env={})
        return await run(command, limits=limits, cancel=self.cancel, on_line=self.take)

    async def is_gone(self) -> bool:
        # the leader is reaped by us; the grandchild by init, a moment later
        for _ in range(1000):
            if not any(_is_alive(pid) for pid in self.pids):
                return True
            await asyncio.sleep(0)
            os.sched_yield()
        return False


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] not in ("Z", "X")


async def _stop(
    watched: _Watched, outcome: asyncio.Task[Outcome], how: Callable[[], object]
) -> Outcome:
    await watched.both_ready.wait()
    how()
    return await outcome


async def test_lines_come_one_by_one_and_the_end_of_stderr_is_kept(tmp_path: Path) -> None:
    script = "import sys; print('a'); print('b' * 200); print('why', file=sys.stderr); sys.exit(3)"
    lines: list[str] = []
    outcome = await run(
        Command(argv=(sys.executable, "-S", "-c", script), cwd=tmp_path, env={}),
        limits=_limits(),
        cancel=Cancel(),
        on_line=lines.append,
    )
    assert outcome == Outcome(exit_code=3, stderr=("why",), asked_to_stop=False, timed_out=False)
    assert lines == ["a", "b" * 100 + " … [line cut]"]


async def test_output_may_go_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "out"
    await run(
        Command(argv=("/bin/echo", "hello"), cwd=tmp_path, env={}, output_file=file),
        limits=_limits(),
        cancel=Cancel(),
        on_line=lambda _: pytest.fail("nothing goes to the callback"),
    )
    assert file.read_bytes() == b"hello\n"


async def test_a_background_child_that_keeps_the_pipe_does_not_hold_us(tmp_path: Path) -> None:
    script = "sleep 60 & echo pid $!"
    lines: list[str] = []
    outcome = await run(
        Command(argv=("/bin/sh", "-c", script), cwd=tmp_path, env={"PATH": os.defpath}),
        limits=_limits(),
        cancel=Cancel(),
        on_line=lines.append,
    )
    pid = int(lines[0].split()[1])
    assert outcome.exit_code == 0
    assert _is_alive(pid), "what ends by itself leaves its group alone"
    os.kill(pid, signal.SIGKILL)


async def test_a_graceful_cancel_interrupts_once_and_leaves_no_process() -> None:
    watched = _Watched()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watched.run("obey", _limits()))
        outcome = await _stop(watched, task, watched.cancel.graceful.set)
    assert (outcome.exit_code, outcome.asked_to_stop) == (1, True)
    assert watched.lines.count("interrupted") == 1
    assert await watched.is_gone()


async def test_a_forced_cancel_terminates_what_ignores_interrupts() -> None:
    watched = _Watched()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watched.run("ignore", _limits()))
        outcome = await _stop(watched, task, watched.cancel.forced.set)
    assert (outcome.exit_code, outcome.asked_to_stop) == (-signal.SIGKILL, True)
    assert await watched.is_gone()


async def test_a_forced_cancel_waits_until_a_write_is_whole(tmp_path: Path) -> None:
    file, cancel, lines = tmp_path / "state", Cancel(), list[str]()

    def take(line: str) -> None:
        lines.append(line)
        cancel.forced.set()

    def is_at_rest() -> bool:
        return file.read_text() == "whole"

    outcome = await run(
        Command(
            argv=(sys.executable, "-S", "-c", WRITER, str(file)),
            cwd=tmp_path,
            env={},
            is_at_rest=is_at_rest,
        ),
        limits=_limits(),
        cancel=cancel,
        on_line=take,
    )
    assert outcome.exit_code == -signal.SIGKILL
    assert file.read_text() == "whole"


async def test_what_never_comes_to_rest_is_killed_all_the_same(tmp_path: Path) -> None:
    watched = _Watched()
    argv = (sys.executable, "-S", "-c", STUBBORN, "ignore")
    command = Command(argv=argv, cwd=tmp_path, env={}, is_at_rest=lambda: False)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            run(command, limits=_limits(), cancel=watched.cancel, on_line=watched.take)
        )
        await _stop(watched, task, watched.cancel.forced.set)
    assert task.result().exit_code == -signal.SIGKILL
    assert await watched.is_gone()


async def test_grace_ends() -> None:
    watched = _Watched()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watched.run("ignore", _limits(grace=0.05)))
        outcome = await _stop(watched, task, watched.cancel.graceful.set)
    assert outcome.exit_code == -signal.SIGKILL
    assert watched.lines.count("interrupted") == 1, "a second interrupt loses work in flight"
    assert await watched.is_gone()


async def test_a_timeout_ends_it_like_a_cancel_and_says_so() -> None:
    watched = _Watched()
    outcome = await watched.run("ignore", _limits(timeout=0.5, grace=0.05))
    assert (outcome.timed_out, outcome.asked_to_stop) == (True, False)
    assert await watched.is_gone()


async def test_cancelling_the_task_waits_until_the_processes_are_gone() -> None:
    watched = _Watched()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watched.run("obey", _limits()))
        await watched.both_ready.wait()
        task.cancel()
    assert task.cancelled()
    assert "interrupted" in watched.lines
    assert await watched.is_gone()


async def test_a_second_cancel_of_the_task_ends_patience() -> None:
    watched = _Watched()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watched.run("ignore", _limits(grace=60)))
        await watched.both_ready.wait()
        task.cancel()
        await watched.interrupted.wait()
        task.cancel()
    assert task.cancelled()
    assert await watched.is_gone()


async def test_what_a_killed_command_started_ends_with_it() -> None:
    watched = _Watched()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watched.run("ignore", _limits()))
        await watched.both_ready.wait()
        os.kill(watched.leader, signal.SIGKILL)
    assert (task.result().exit_code, task.result().asked_to_stop) == (-signal.SIGKILL, False)
    assert await watched.is_gone()


async def test_a_binary_that_cannot_run_is_named() -> None:
    with pytest.raises(ProvisionError, match="cannot run /nowhere/terraform: No such file"):
        await run(
            Command(argv=("/nowhere/terraform",), cwd=Path("/"), env={}),
            limits=_limits(),
            cancel=Cancel(),
            on_line=lambda _: None,
        )
