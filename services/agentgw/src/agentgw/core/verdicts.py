"""What the control plane knows of an agent, and what its stream is told: the answer table.

| verdict            | answer                                                              |
|--------------------|---------------------------------------------------------------------|
| unknown token      | refused: UNAUTHENTICATED                                            |
| not a prebuild     | refused: FAILED_PRECONDITION, NOT_A_PREBUILD                        |
| unclaimed          | wait                                                                |
| claim pending      | wait                                                                |
| deliverable        | the reinit event, then the end                                      |
| claim build failed | refused: FAILED_PRECONDITION, CLAIM_BUILD_FAILED with the error     |
| already applied    | refused: FAILED_PRECONDITION, CLAIM_ALREADY_APPLIED                 |
| unrecognized       | wait: a newer control plane means something; the next look may tell |

One ambiguous case: the claim is deliverable, but the agent says by itself that it has applied just
this claim. Its acknowledgement got lost. It is believed, since it can harm nobody but itself: the
acknowledgement is recorded on its behalf, and it waits until durable state says "already applied".
To refuse it at once would lose the acknowledgement for good if this process died before recording
it, because a refused agent stops asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

__all__ = [
    "ERROR_LENGTH_MAX",
    "Acknowledge",
    "AgentCheck",
    "Answer",
    "Deliver",
    "RefusalReason",
    "Refuse",
    "Verdict",
    "Wait",
    "decide_answer",
]

ERROR_LENGTH_MAX: Final = 4_096


class Verdict(Enum):
    """What is durably known of an agent."""

    UNKNOWN_TOKEN = auto()
    NOT_A_PREBUILD = auto()
    UNCLAIMED = auto()
    CLAIM_PENDING = auto()
    DELIVERABLE = auto()
    CLAIM_BUILD_FAILED = auto()
    ALREADY_APPLIED = auto()
    UNRECOGNIZED = auto()


class RefusalReason(Enum):
    """Why a stream ends without an event; the names are part of the API."""

    UNKNOWN_TOKEN = "UNKNOWN_TOKEN"
    NOT_A_PREBUILD = "NOT_A_PREBUILD"
    CLAIM_BUILD_FAILED = "CLAIM_BUILD_FAILED"
    CLAIM_ALREADY_APPLIED = "CLAIM_ALREADY_APPLIED"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCheck:
    """What one read found. Fields that do not apply are empty."""

    verdict: Verdict
    agent_id: str = ""
    workspace_id: str = ""
    claim_id: str = ""
    owner_id: str = ""
    reason: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to tell yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """The workspace has a new owner: say so, then end the stream normally."""

    workspace_id: str
    owner_id: str
    reason: str
    claim_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """There is nothing to wait for: say why, and end the stream."""

    reason: RefusalReason
    message: str
    claim_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """The agent's acknowledgement of this claim got lost: record it, and wait for that."""

    claim_id: str


Answer = Wait | Deliver | Refuse | Acknowledge


def decide_answer(check: AgentCheck, *, last_applied_claim_id: str) -> Answer:
    """The answer table. `last_applied_claim_id` is what the agent remembers; empty if nothing."""
    match check.verdict:
        case Verdict.UNKNOWN_TOKEN:
            return Refuse(reason=RefusalReason.UNKNOWN_TOKEN, message="no agent has this token")
        case Verdict.NOT_A_PREBUILD:
            return Refuse(
                reason=RefusalReason.NOT_A_PREBUILD,
                message="this workspace never was a prebuild; keep running and stop asking",
            )
        case Verdict.UNCLAIMED | Verdict.CLAIM_PENDING | Verdict.UNRECOGNIZED:
            return Wait()
        case Verdict.DELIVERABLE:
            if check.claim_id == last_applied_claim_id:
                return Acknowledge(claim_id=check.claim_id)
            return Deliver(
                workspace_id=check.workspace_id,
                owner_id=check.owner_id,
                reason=check.reason,
                claim_id=check.claim_id,
            )
        case Verdict.CLAIM_BUILD_FAILED:
            why = check.error[:ERROR_LENGTH_MAX] or "no reason was recorded"
            return Refuse(
                reason=RefusalReason.CLAIM_BUILD_FAILED,
                message=f"the claim build failed: {why}",
                claim_id=check.claim_id,
            )
        case Verdict.ALREADY_APPLIED:
            return Refuse(
                reason=RefusalReason.CLAIM_ALREADY_APPLIED,
                message="this agent has applied the claim of its workspace",
                claim_id=check.claim_id,
            )
