"""Ends the gateway as a crash would, and waits until it is back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from embedded import Supervisor
from svckit.system import Clock
from warmpool_cli.errors import OperationFailed
from warmpool_cli.local.system import GATEWAY

__all__ = ["GatewayCrash", "SupervisedGateway"]

POLL_SECONDS = 0.01
BACK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCrash:
    """One crash: who died, who came, and how long nobody was there."""

    old_pid: int
    new_pid: int
    away_seconds: float


class SupervisedGateway:
    """The gateway of a local system."""

    def __init__(self, supervisor: Supervisor, clock: Clock) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._old_pid = 0
        self._killed_at = 0.0

    def freeze(self) -> None:
        """SIGSTOP: it says nothing more, and its connections stay open."""
        self._supervisor.freeze(GATEWAY)

    def kill(self) -> int:
        """SIGKILL; returns the process id that is no more."""
        self._old_pid = self._supervisor.pid_of(GATEWAY) or 0
        self._killed_at = self._clock.monotonic()
        self._supervisor.kill(GATEWAY)
        return self._old_pid

    async def wait_back(self) -> GatewayCrash:
        """Returns when another process serves the same port; OperationFailed if none comes."""
        try:
            async with asyncio.timeout(BACK_SECONDS):
                while (pid := self._supervisor.pid_of(GATEWAY)) in (None, self._old_pid):
                    await self._clock.sleep(POLL_SECONDS)
                await self._supervisor.wait_ready(GATEWAY)
        except TimeoutError:
            raise OperationFailed(
                f"the gateway did not come back within {BACK_SECONDS:.0f} s",
                "keep the directory with --keep and look into services/logs/agentgw.log",
            ) from None
        return GatewayCrash(
            old_pid=self._old_pid,
            new_pid=pid or 0,
            away_seconds=self._clock.monotonic() - self._killed_at,
        )
