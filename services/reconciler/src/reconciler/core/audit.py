"""What is kept of who did what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

__all__ = ["AuditEntry"]


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
