"""Waiting for something that gives no signal: the only place where a test may sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

__all__ = ["eventually"]

_T = TypeVar("_T")
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.1


async def eventually(check: Callable[[], Awaitable[_T] | _T], *, seconds: float = 20.0) -> _T:
    """Repeats the check until it raises no AssertionError, and returns what it returned.

    When time is up, the check's last AssertionError is raised with a note on how often it was
    tried. Prefer waiting for a signal: this is for what another process shows only when asked.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = _FIRST_PAUSE_SECONDS
    tried = 0
    while True:
        tried += 1
        try:
            result = check()
            if isinstance(result, Awaitable):
                return await cast("Awaitable[_T]", result)
            return result
        except AssertionError as error:
            if loop.time() >= deadline:
                error.add_note(f"still so after {seconds} s and {tried} looks")
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
