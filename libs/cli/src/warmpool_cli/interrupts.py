"""Ends a command's work at the first signal, and lets it clean up.

The first SIGINT, SIGTERM or SIGHUP cancels the work; its `finally` blocks run to their end, however
often the signal is repeated, because a half-done clean-up would leave processes behind. Every
clean-up in this package is bounded.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from warmpool_cli.errors import Interrupted

__all__ = ["run_until_signal"]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Awaits the work; raises Interrupted after its clean-up if a signal ended it."""
    received: list[signal.Signals] = []
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1 and task is not None:
            task.cancel()

    for number in _ENDING:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await work
    except asyncio.CancelledError:
        if not received:
            raise
        raise Interrupted(received[0]) from None
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)
