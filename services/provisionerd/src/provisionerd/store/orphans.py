"""Commands that an earlier process of ours left running in a job's directory.

A provisioner's command leads a session of its own, so it survives the worker that started it, and
two of them on one workspace would undo each other. An orphan is a session's leader that runs one of
our programs inside the job's directory; an agent that a template has started in the background runs
something else, and is left alone. Linux only; elsewhere an orphan ends by itself at its next line
of output, because its reader is gone.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

__all__ = ["end_orphans"]

_PROC = Path("/proc")


def end_orphans(directory: Path, programs: frozenset[str]) -> int:
    """Ends them with all their group; returns how many groups there were. `programs` are names of
    executables.
    """
    count = 0
    for pid in _list_pids():
        if pid == os.getpid() or not _is_orphan(pid, directory, programs):
            continue
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
            count += 1
    return count


def _list_pids() -> list[int]:
    if not _PROC.is_dir():
        return []
    return [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]


def _is_orphan(pid: int, directory: Path, programs: frozenset[str]) -> bool:
    try:
        if os.getsid(pid) != pid or os.getpgid(pid) != pid:
            return False
        program = (_PROC / str(pid) / "exe").readlink().name
        working = (_PROC / str(pid) / "cwd").readlink()
    except OSError:
        return False  # gone, or not ours to look at
    return program in programs and working.is_relative_to(directory.absolute())
