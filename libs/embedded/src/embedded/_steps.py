"""Waiting for another process, with and without an event loop.

A slow operation is a generator that yields when it has nothing to do but wait. `run_steps` drives
it in an event loop, `run_steps_blocking` without one, for a test session's servers, which belong to
no test's loop. Whoever is cancelled in between closes the generator, so that it can clean up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator

__all__ = ["STEP_SECONDS", "Steps", "run_steps", "run_steps_blocking", "steps_in"]

STEP_SECONDS = 0.01
Steps = Generator[None, None, None]


def steps_in(seconds: float) -> range:
    """As many steps as fit in so many seconds."""
    return range(max(1, round(seconds / STEP_SECONDS)))


async def run_steps(steps: Steps) -> None:
    """Runs an operation, letting the loop run while it waits."""
    with contextlib.closing(steps):
        for _ in steps:
            await asyncio.sleep(STEP_SECONDS)


def run_steps_blocking(steps: Steps) -> None:
    """Runs an operation, blocking the thread while it waits."""
    with contextlib.closing(steps):
        for _ in steps:
            time.sleep(STEP_SECONDS)
