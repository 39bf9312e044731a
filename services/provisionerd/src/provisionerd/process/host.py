"""The processes of this host: which is whose, starting one that outlives us, ending them.

Promises: a process is named by number and beginning, so a later one with its number is never
touched; everything that was started in a workspace is found by a variable it inherited, wherever it
went. The latter needs /proc; without it only the agents themselves are found.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from provisionerd.core.errors import ProvisionError

__all__ = ["carriers_of", "carries", "mark_of", "signal_all", "start_agent", "wait_until_gone"]

PROC = Path("/proc")
LOOK_SECONDS = 0.02
LAUNCHER = Path(__file__).with_name("_launch.py")


def mark_of(pid: int) -> str:
    """When the process began, in words that differ for every process that has this number; empty
    if there is none or it has ended.
    """
    if pid <= 0:
        return ""
    if not PROC.is_dir():
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        stat = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if stat[0] in (b"Z", b"X") else f"{boot}/{stat[19].decode()}"


def carries(pid: int, name: str, value: str) -> bool:
    """Whether the process was started with this variable."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{name}={value}".encode() in environment.split(b"\0")


def carriers_of(name: str, value: str) -> tuple[int, ...]:
    """Every running process that was started with this variable, but ourselves."""
    if not PROC.is_dir():
        return ()
    numbers = (int(entry) for entry in os.listdir(PROC) if entry.isdigit())
    return tuple(
        pid for pid in numbers if pid != os.getpid() and carries(pid, name, value) and mark_of(pid)
    )


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Signals processes; those that are gone meanwhile are passed over."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


async def wait_until_gone(
    find: Callable[[], Iterable[int]], seconds: float, hurry: asyncio.Event
) -> tuple[int, ...]:
    """Waits until `find` finds nobody, time is up, or `hurry` is set; returns who is left."""
    pause = LOOK_SECONDS
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not hurry.is_set() and await asyncio.to_thread(lambda: tuple(find())):
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.5)
    return await asyncio.to_thread(lambda: tuple(find()))


async def start_agent(
    command: Sequence[str], *, directory: Path, private: Path, env: Mapping[str, str]
) -> int:
    """Starts an agent in a session of its own and returns its process id.

    `directory` is where it begins, `private` takes its log and its process id.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(LAUNCHER)),
        *(str(private / "agent.pid"), str(private / "agent.log")),
        *command,
        cwd=directory,
        env=dict(env),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    try:
        out, trouble = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = trouble.decode(errors="replace").strip()
        raise ProvisionError(f"the agent's command {command[0]!r} could not be run: {said}")
    return int(out)
