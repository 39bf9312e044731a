"""Commands that an earlier process of ours left running in a job's directory.

A provisioner's command leads a session of its own, so it survives the worker that started it, and
two of them on one workspace would undo each other. An orphan is a session's leader that runs one of
our programs inside the job's directory; an agent that a template has started in the background runs
something else, and is left alone. Linux only; elsewhere an orphan ends by itself at its next line
of output, because its reader is gone. It is stopped first, and killed when what it writes is whole.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["end_orphans"]

_PROC = Path("/proc")
_LOOKS_MAX = 50  # half a second: a write takes less
_STEP_SECONDS = 0.01


def end_orphans(
    directory: Path, programs: frozenset[str], is_at_rest: Callable[[], bool] = lambda: True
) -> int:
    """Ends them with all their group; returns how many groups there were. `programs` are names of
    executables. `is_at_rest` says of a stopped one whether killing it now leaves its files whole;
    after half a second it is killed all the same.
    """
    count = 0
    for pid in _list_pids():
        if pid == os.getpid() or not _is_orphan(pid, directory, programs):
            continue
        with suppress(ProcessLookupError, PermissionError):
            _come_to_rest(pid, is_at_rest)
            os.killpg(pid, signal.SIGKILL)
            count += 1
    return count


def _come_to_rest(pid: int, is_at_rest: Callable[[], bool]) -> None:
    """Stops the group at a moment at which it writes nothing, if there is one."""
    pause = threading.Event()
    for _ in range(_LOOKS_MAX):
        os.killpg(pid, signal.SIGSTOP)
        for _ in range(_LOOKS_MAX):
            if _has_stopped(pid):
                break
            pause.wait(_STEP_SECONDS / 10)
        if is_at_rest():
            return
        os.killpg(pid, signal.SIGCONT)
        pause.wait(_STEP_SECONDS)


def _has_stopped(pid: int) -> bool:
    """Whether all its threads have; true also of what is gone."""
    try:
        threads = [path / "stat" for path in (_PROC / str(pid) / "task").iterdir()]
        states = [path.read_text().rpartition(")")[2].split()[0] for path in threads]
    except OSError:
        return not (_PROC / str(pid)).exists()
    return all(state in "TXZ" for state in states)


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
