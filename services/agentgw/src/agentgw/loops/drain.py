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
    the way here when we stopped listening is let in and sent away at once, however late it comes;
    else nobody is let in.

    False if some were still here when the time was up.
    """
    started_at = clock.monotonic()
    if admits:
        keys = sessions.send_comers_away(COME_BACK_SECONDS)
    else:
        keys = sessions.refuse_comers(RETRY_SECONDS)
    try:
        async with asyncio.timeout(timeout_seconds):
            for step in plan_drain(keys, window_seconds=window_seconds):
                early = started_at + step.offset_seconds - clock.monotonic()
                if early > 0:
                    await clock.sleep(early)
                for key in step.session_keys:
                    sessions.send_away(key, after_seconds=COME_BACK_SECONDS * entropy.random())
            await sessions.wait_until_empty()
    except TimeoutError:
        _log.warning("Some agents did not leave in time", action="drain", count=sessions.count)
        return False
    _log.info("Every agent was sent elsewhere", action="drain", count=len(keys))
    return True
