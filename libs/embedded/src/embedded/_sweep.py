"""Ends every process that carries one variable in its environment, wherever it has gone.

Sessions, double forks and lost parents make no difference: what a process was started with stays
visible in /proc, and children inherit it. A process that empties its environment before it becomes
another program escapes. Needs /proc: elsewhere nothing is found and nothing ended.
"""

from __future__ import annotations

import contextlib
import os
import signal

from embedded._proc import find_carriers, list_ancestors
from embedded._steps import Steps, steps_in

__all__ = ["sweep"]

GONE_SECONDS = 10.0
STEPS_BETWEEN_LOOKS = 5


def sweep(name: str, value: str, *, grace_seconds: float) -> Steps:
    """Asks them to end, and after `grace_seconds` ends them. Ourselves and whoever started us are
    left alone.
    """
    spared = list_ancestors()
    told: set[int] = set()
    for step in steps_in(grace_seconds):
        if step % STEPS_BETWEEN_LOOKS == 0:
            found = set(find_carriers(name, value)) - spared
            if not found:
                return
            for pid in found - told:  # one that appeared since
                _signal(pid, signal.SIGTERM)
            told |= found
        yield
    for step in steps_in(GONE_SECONDS):
        if step % STEPS_BETWEEN_LOOKS == 0:
            found = set(find_carriers(name, value)) - spared
            if not found:
                return
            for pid in found:
                _signal(pid, signal.SIGKILL)
        yield


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        if number is signal.SIGTERM:
            os.kill(pid, signal.SIGCONT)  # a frozen one hears it only then
