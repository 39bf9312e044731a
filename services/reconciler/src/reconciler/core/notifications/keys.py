"""The keys that keep a thing from being told twice.

A key without a day is told once, ever. One with a day is told once in each day of UTC, however
often it happens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from reconciler.core.notifications.kinds import Kind

__all__ = ["daily_key", "missing_key", "once_key"]


def once_key(kind: Kind, subject: UUID | str) -> str:
    """For what is told once."""
    return f"{kind}/{subject}"


def daily_key(kind: Kind, subject: UUID | str, now: datetime) -> str:
    """For what is told again on another day."""
    return f"{kind}/{subject}/{now.astimezone(UTC):%Y-%m-%d}"


def missing_key(
    organization_id: UUID, provisioner_type: str, tags: Mapping[str, str], now: datetime
) -> str:
    """For jobs of one sort that no provisioner takes. Tags are people's texts, so they are
    hashed.
    """
    sort = hashlib.sha256(json.dumps([provisioner_type, sorted(tags.items())]).encode()).hexdigest()
    return daily_key(Kind.PROVISIONERS_MISSING, f"{organization_id}/{sort[:16]}", now)
