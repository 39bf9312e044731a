"""What every part of one run of an agent needs from outside."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentsdk.limits import AgentLimits
from agentsdk.log import AgentLog
from agentsdk.system import Clock, Entropy, SystemClock, SystemEntropy, new_session_id

__all__ = ["Surroundings"]


def _system_log() -> AgentLog:
    return AgentLog(SystemClock())


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Time, chance, bounds, the log, and the id of this run. The defaults are the machine's own."""

    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    limits: AgentLimits = field(default_factory=AgentLimits)
    log: AgentLog = field(default_factory=_system_log)
    session_id: str = field(default_factory=new_session_id)
    """Tells two runs of one agent apart."""
