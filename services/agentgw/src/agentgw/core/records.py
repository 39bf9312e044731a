"""What is recorded of a claim at an agent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Phase", "ReinitRecord"]


class Phase(Enum):
    """How far an agent is with a claim."""

    DELIVERED = auto()
    APPLYING = auto()
    APPLIED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinitRecord:
    """One step of one claim at the agent with this token. `error` belongs to FAILED; `at_seconds`
    is when it happened, by this process's monotonic clock.
    """

    token_hash: bytes
    claim_id: str
    phase: Phase
    at_seconds: float
    error: str = ""
