"""What is kept of who did what."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

__all__ = ["Actor", "AuditEntry", "AuditRecord", "read_trace_id"]


def read_trace_id(traceparent: str) -> str:
    """The trace of a W3C traceparent; empty for none."""
    return traceparent.partition("-")[2].partition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One deed. `actor_id` None is the system itself."""

    id: UUID
    actor_id: UUID | None
    action: str
    target_kind: str
    target_id: str
    organization_id: UUID | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    trace_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One deed as it was kept. `actor` is a user name; empty is the system itself."""

    happened_at: datetime
    actor: str
    entry: AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does one thing: `audit_id` is fresh, and becomes the id of its entry."""

    user_id: UUID
    audit_id: UUID
    trace_id: str = ""

    def entry(
        self,
        action: str,
        target_kind: str,
        target_id: object,
        *,
        organization_id: UUID | None = None,
        **details: Any,
    ) -> AuditEntry:
        """The entry of what they did. `details` must be JSON."""
        return AuditEntry(
            id=self.audit_id,
            actor_id=self.user_id,
            action=action,
            target_kind=target_kind,
            target_id=str(target_id),
            organization_id=organization_id,
            details=details,
            trace_id=self.trace_id,
        )
