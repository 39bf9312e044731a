"""The orderly end: agents are sent elsewhere, a few at a time, before the server stops."""

from __future__ import annotations

import asyncio
from typing import Final

from agentgw.core.drain import plan_drain
from agentgw.store.sessions import Sessions
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["drain_sessions"]

RETRY_SECONDS: Final = 0.5
COME_BACK_SECONDS: Final = 0.3  # longest pause an agent is asked to make before its new stream
ON_THE_WAY_SECONDS: Final = 0.1  # what an agent that was just connected needs to open its stream

_log = get_logger("agentgw.drain")


async def drain_sessions(
    sessions: Sessions,
    *,
    admits: bool,
    window_seconds: float,
    timeout_seconds: float,
    clock: Clock,
    entropy: Entropy,
) -> bool:
    """Sends everybody away over the window, and waits until they have left. `admits`: who was on
    the way here when we stopped listening is let in, and sent away at the end; else nobody is.

    False if some were still here when the time was up.
    """
    started_at = clock.monotonic()
    keys = sessions.begin_drain(retry_seconds=None if admits else RETRY_SECONDS)
    try:
        async with asyncio.timeout(timeout_seconds):
            for step in plan_drain(keys, window_seconds=window_seconds):
                early = started_at + step.offset_seconds - clock.monotonic()
                if early > 0:
                    await clock.sleep(early)
                for key in step.session_keys:
                    sessions.send_away(key, after_seconds=COME_BACK_SECONDS * entropy.random())
            if admits:
                await clock.sleep(ON_THE_WAY_SECONDS)
            for key in sessions.begin_drain(retry_seconds=RETRY_SECONDS):
                sessions.send_away(key, after_seconds=COME_BACK_SECONDS * entropy.random())
            await sessions.wait_until_empty()
    except TimeoutError:
        _log.warning("Some agents did not leave in time", action="drain", count=sessions.count)
        return False
    _log.info("Every agent was sent elsewhere", action="drain", count=len(keys))
    return True
