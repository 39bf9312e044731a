"""Ends by force what the supervisor of a running system does not know by name."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from testkit.eventually import eventually
from testkit.system import RunningSystem

__all__ = ["crash_postgres", "list_terraform", "processes_in"]

RECOVERY_SECONDS = 40.0


def processes_in(directory: Path) -> list[tuple[int, str]]:
    """Every process that works below a directory, with its command line."""
    found: list[tuple[int, str]] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is the kernel's
            if (entry / "cwd").readlink().is_relative_to(directory):
                found.append((int(entry.name), (entry / "cmdline").read_text(errors="replace")))
    return found


def list_terraform(system: RunningSystem) -> list[int]:
    """Every terraform that a worker of the system runs now, or has left behind."""
    return [
        pid
        for pid, command in processes_in(system.layout.provisioner)
        if Path(command.partition("\0")[0]).name in ("terraform", "tofu")
    ]


async def crash_postgres(system: RunningSystem) -> None:
    """Ends one of its processes by force: the server drops every connection and recovers."""

    def checkpointer() -> int:
        found = [
            pid
            for pid, command in processes_in(system.layout.postgres)
            if command.startswith("postgres: checkpointer")
        ]
        assert len(found) == 1
        return found[0]

    before = checkpointer()
    os.kill(before, signal.SIGKILL)

    def look() -> None:
        assert checkpointer() != before

    await eventually(look, seconds=RECOVERY_SECONDS)
