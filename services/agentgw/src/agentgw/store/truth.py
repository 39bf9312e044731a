"""The durable truth, which is the control plane's. The gateway only asks and reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentgw.core.liveness import LivenessReport
from agentgw.core.records import ReinitRecord
from agentgw.core.verdicts import AgentCheck

__all__ = ["Truth"]


class Truth(Protocol):
    """Every method raises ServiceError; Unavailable means that repeating it may help."""

    async def check_agents(self, token_hashes: Sequence[bytes]) -> tuple[AgentCheck, ...]:
        """One check per hash, in order; at most 2000."""
        ...

    async def record_reinits(self, records: Sequence[ReinitRecord]) -> tuple[bool, ...]:
        """Records steps; False where the claim is not the agent's. At most 2000; repeatable."""
        ...

    async def record_liveness(self, report: LivenessReport) -> None:
        """Records who is connected and who has gone."""
        ...
