"""What a reinit stream carries, and the errors it may end with."""

from __future__ import annotations

from dataclasses import dataclass

from agentgw.core.verdicts import Deliver, RefusalReason, Refuse
from svckit.errors import FailedPrecondition, ServiceError, Unauthenticated

__all__ = ["Frame", "Heartbeat", "Reconnect", "Superseded", "refusal_error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The stream lives; the next frame comes within this time."""

    interval_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """Open a new stream after this time. The last frame."""

    after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """A newer session of the same agent took over."""


Frame = Heartbeat | Deliver | Reconnect


def refusal_error(refusal: Refuse) -> ServiceError:
    """The error a refused stream ends with."""
    if refusal.reason is RefusalReason.UNKNOWN_TOKEN:
        return Unauthenticated(refusal.message, reason=refusal.reason.value)
    metadata = {"claim_id": refusal.claim_id} if refusal.claim_id else {}
    return FailedPrecondition(refusal.message, reason=refusal.reason.value, metadata=metadata)
