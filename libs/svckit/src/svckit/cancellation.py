"""Whose cancellation it is.

gRPC cancels calls nobody here cancelled: those of a channel that is closed, some of a crowd that
connects at once. They raise CancelledError all the same, and a task that lets it pass ends in
silence: a task group takes it for its own doing. Who waits for a call asks which of the two it is.
"""

from __future__ import annotations

import asyncio

__all__ = ["is_asked_to_end"]


def is_asked_to_end() -> bool:
    """In an `except CancelledError`: whether this task was cancelled, so that it has to pass on."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
