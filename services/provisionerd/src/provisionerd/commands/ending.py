"""Ends a command's process group by force, but not amid a write that must be whole.

SIGKILL at any moment would cut a file short that the command is writing: terraform truncates its
tfstate and writes it anew. So the group is stopped first (SIGSTOP), looked at, and let on for a
moment if the look says that it is not at rest; in the end it is killed, at rest or not.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress

__all__ = ["kill_group", "signal_group"]

_PATIENCE_SECONDS = 2.0  # how long a command may take to come to rest
_STOP_SECONDS = 0.5  # how long all its threads may take to stop
_STEP_SECONDS = 0.005


async def kill_group(process: Process, is_at_rest: Callable[[], bool] | None) -> None:
    """Kills the group of `process`, its leader; at once if nothing says when it is at rest."""
    if is_at_rest is not None:
        with suppress(TimeoutError, ChildProcessError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not await _is_stopped_at_rest(process, is_at_rest):
                    signal_group(process, signal.SIGCONT)
                    await asyncio.sleep(_STEP_SECONDS)
    signal_group(process, signal.SIGKILL)


def signal_group(process: Process, number: signal.Signals) -> None:
    """Signals every process of the group; one that is gone is passed over."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _is_stopped_at_rest(process: Process, is_at_rest: Callable[[], bool]) -> bool:
    signal_group(process, signal.SIGSTOP)
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            while not _has_stopped(process):  # noqa: ASYNC110  the kernel sets no event
                await asyncio.sleep(_STEP_SECONDS / 5)
    return is_at_rest()


def _has_stopped(process: Process) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG) is not None
