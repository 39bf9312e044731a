"""Inboxes, preferences and deliveries as tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table

from warmpool.control.v1.notifications_pb2 import (
    DELIVERY_STATUS_DEAD,
    DELIVERY_STATUS_PENDING,
    Delivery,
    InboxMessage,
    Preference,
)
from warmpool_cli.render.tables import plain_table
from warmpool_cli.render.words import local_time, since

__all__ = ["deliveries_table", "inbox_table", "message_lines", "preferences_table"]


def inbox_table(messages: Iterable[InboxMessage]) -> Table:
    """One line a message."""
    return plain_table(
        ("id", "when", "", "organization", "subject"),
        (
            (
                message.id,
                local_time(message.created_at),
                "" if message.HasField("read_at") else "new",
                message.organization,
                message.subject,
            )
            for message in messages
        ),
    )


def message_lines(message: InboxMessage) -> list[str]:
    """A message in full."""
    head = f"{local_time(message.created_at)}  {message.subject}"
    return [head, "", *message.body.splitlines(), ""]


def preferences_table(preferences: Iterable[Preference]) -> Table:
    """One line a kind."""
    return plain_table(
        ("kind", "inbox", "email"),
        (
            (each.kind, "on" if each.inbox else "off", "on" if each.email else "off")
            for each in preferences
        ),
    )


def deliveries_table(deliveries: Iterable[Delivery], now: datetime) -> Table:
    """One line a delivery."""
    return plain_table(
        ("id", "when", "channel", "to", "subject", "tries", "state", "error"),
        (
            (
                each.id,
                local_time(each.created_at),
                each.channel,
                each.recipient or "-",
                each.subject,
                str(each.attempts),
                _state(each, now),
                each.error or "-",
            )
            for each in deliveries
        ),
    )


def _state(delivery: Delivery, now: datetime) -> str:
    if delivery.status == DELIVERY_STATUS_PENDING:
        due = since(delivery.due_at, now)
        return f"again {due}" if delivery.attempts and due.startswith("in ") else "waits"
    return "dead" if delivery.status == DELIVERY_STATUS_DEAD else "sent"
