"""What is seen of notifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reconciler.core.notifications.kinds import PERSONAL_CHANNELS, Channel, Kind
from reconciler.core.notifications.wording import Rendered

__all__ = ["DeliveryView", "InboxView", "PreferenceView", "list_preferences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxView:
    """One message of an inbox."""

    id: UUID
    kind: str
    words: Rendered
    organization: str
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """One message to one person or one sink. `recipient` is a user name, or empty."""

    id: UUID
    kind: str
    words: Rendered
    channel: str
    recipient: str
    status: str
    attempts: int
    error: str
    created_at: datetime
    due_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceView:
    """Whether somebody hears of a kind, by channel."""

    kind: Kind
    channels: Mapping[Channel, bool]


def list_preferences(said: Mapping[tuple[str, str], bool]) -> tuple[PreferenceView, ...]:
    """Every kind on every channel, for somebody who said this."""
    return tuple(
        PreferenceView(
            kind=kind,
            channels={each: said.get((kind.value, each.value), True) for each in PERSONAL_CHANNELS},
        )
        for kind in Kind
    )
