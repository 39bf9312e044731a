"""The agent: one process in a workspace, from its first manifest to its orderly end.

Whatever happens to the gateway, the stream or a claim, the agent keeps running until it is told to
stop. Then it ends its scripts, says so, and returns, within the time its settings grant.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agentsdk.gateway import open_gateway
from agentsdk.life import Life
from agentsdk.reports import AgentCallbacks
from agentsdk.settings import AgentSettings
from agentsdk.surroundings import Surroundings

__all__ = ["Agent", "AgentCallbacks"]

_TERMINATE_SHARE = 0.125  # of the time for an orderly end, spent at most three times


class Agent:
    """`run` it once; `stop` it from the same loop."""

    def __init__(
        self,
        settings: AgentSettings,
        callbacks: AgentCallbacks | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._settings = settings
        self._callbacks = callbacks or AgentCallbacks()
        self._surroundings = _bound(surroundings or Surroundings(), settings)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Asks for an orderly end: stop scripts, last reports, all within `shutdown_seconds`."""
        self._stopping.set()

    async def run(self) -> None:
        """Runs until `stop`. Raises `SettingsInvalid` if the certificates cannot be read."""
        log, session_id = self._surroundings.log, self._surroundings.session_id
        limits = self._surroundings.limits
        async with (
            open_gateway(self._settings, limits, self._callbacks.call_failed) as gateway,
            asyncio.TaskGroup() as group,
        ):
            life = Life(gateway, group, self._settings, self._callbacks, self._surroundings)
            work = group.create_task(life.run())
            log.info("The agent started.", session_id=session_id)
            try:
                await self._stopping.wait()
                work.cancel()
                await asyncio.wait({work})
                await life.shut_down()
            finally:
                life.close()
            log.info("The agent stopped.", session_id=session_id)


def _bound(surroundings: Surroundings, settings: AgentSettings) -> Surroundings:
    limits = surroundings.limits
    terminate_seconds = min(limits.terminate_seconds, _TERMINATE_SHARE * settings.shutdown_seconds)
    return replace(surroundings, limits=replace(limits, terminate_seconds=terminate_seconds))
