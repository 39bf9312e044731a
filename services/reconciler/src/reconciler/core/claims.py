"""What an agent's reinit stream should be told, from what is durable. One row of facts, one answer.

Three facts decide: was the workspace born in a pool, is there a claim and is it built, has this
agent ended its part of it. An agent that only began to apply (APPLYING) has not ended it: if it
dies, it is told again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["AgentFacts", "Verdict", "decide_verdict"]


class Verdict(Enum):
    """What a reinit stream should do."""

    UNKNOWN_TOKEN = "unknown_token"
    NOT_A_PREBUILD = "not_a_prebuild"
    UNCLAIMED = "unclaimed"
    CLAIM_PENDING = "claim_pending"
    DELIVERABLE = "deliverable"
    CLAIM_BUILD_FAILED = "claim_build_failed"
    ALREADY_APPLIED = "already_applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What is durable about one agent, its workspace and its claim."""

    born_in_pool: bool
    is_claimed: bool
    is_built: bool
    is_build_running: bool
    is_acknowledged: bool


def decide_verdict(facts: AgentFacts | None) -> Verdict:
    """The answer; None stands for a token no agent has."""
    match facts:
        case None:
            return Verdict.UNKNOWN_TOKEN
        case AgentFacts(born_in_pool=False):
            return Verdict.NOT_A_PREBUILD
        case AgentFacts(is_claimed=False):
            return Verdict.UNCLAIMED
        case AgentFacts(is_acknowledged=True):
            return Verdict.ALREADY_APPLIED
        case AgentFacts(is_built=True):
            return Verdict.DELIVERABLE
        case AgentFacts(is_build_running=True):
            return Verdict.CLAIM_PENDING
        case _:
            return Verdict.CLAIM_BUILD_FAILED
