"""What /proc knows of other processes. On a system without it nothing is found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["find_carriers", "find_working_in", "is_running", "list_ancestors", "list_pids"]

PROC = Path("/proc")


def list_pids() -> Iterator[int]:
    """Every process there is but ourselves."""
    if not PROC.is_dir():
        return
    for name in os.listdir(PROC):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def list_ancestors() -> set[int]:
    """Ourselves, our parent, its parent and so on."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = int(_stat_fields(pid)[1])
        except OSError:
            break
    return found


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
        return _stat_fields(pid)[0] not in (b"Z", b"X")
    except OSError:
        return False


def _stat_fields(pid: int) -> list[bytes]:
    """The process's letter, its parent, its group and so on; its name before may hold anything."""
    return (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
