"""What /proc knows of other processes. On a system without it nothing is found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["find_carriers", "find_working_in", "is_running", "list_pids"]

PROC = Path("/proc")


def list_pids() -> Iterator[int]:
    """Every process there is but ourselves."""
    if not PROC.is_dir():
        return
    for name in os.listdir(PROC):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def find_working_in(directory: Path) -> tuple[int, ...]:
    """The processes whose current directory is this one."""
    wanted = str(directory.resolve())
    found: list[int] = []
    for pid in list_pids():
        with contextlib.suppress(OSError):
            if os.readlink(PROC / str(pid) / "cwd") == wanted:
                found.append(pid)
    return tuple(found)


def find_carriers(name: str, value: str) -> tuple[int, ...]:
    """The processes that were started with this variable in their environment and still run."""
    entry = f"{name}={value}".encode()
    found: list[int] = []
    for pid in list_pids():
        with contextlib.suppress(OSError):
            environment = (PROC / str(pid) / "environ").read_bytes()
            if entry in environment.split(b"\0") and is_running(pid):
                found.append(pid)
    return tuple(found)


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended; one that was not waited for has ended."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")
