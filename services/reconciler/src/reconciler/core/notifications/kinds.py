"""The kinds of notifications, and the channels they go out on."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from svckit.errors import InvalidArgument

__all__ = [
    "PERSONAL_CHANNELS",
    "Channel",
    "Kind",
    "MailTls",
    "check_kind",
    "check_personal_channel",
]


class Kind(StrEnum):
    """What a notification is about."""

    POOL_HARD_LIMITED = "pool.hard_limited"
    POOL_VALIDATION_FAILED = "pool.validation_failed"
    CLAIM_RESOURCES_REPLACED = "claim.resources_replaced"
    CLAIM_WOULD_REPLACE = "claim.would_replace"
    CLAIM_FAILED = "claim.failed"
    PROVISIONERS_MISSING = "provisioners.missing"


class Channel(StrEnum):
    """How a notification goes out. Inbox and email are each person's own; a webhook and an Apprise
    URL belong to the installation and hear of everything.
    """

    INBOX = "inbox"
    EMAIL = "email"
    WEBHOOK = "webhook"
    APPRISE = "apprise"


class MailTls(StrEnum):
    """How the connection to the mail server is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


PERSONAL_CHANNELS: Final = (Channel.INBOX, Channel.EMAIL)


def check_kind(kind: str) -> Kind:
    """The kind, or InvalidArgument that lists them."""
    try:
        return Kind(kind)
    except ValueError:
        allowed = ", ".join(f'"{each}"' for each in Kind)
        raise InvalidArgument(
            f'kind: "{kind[:64]}" is no kind of notification; allowed: {allowed}',
            reason="KIND_INVALID",
            field="kind",
        ) from None


def check_personal_channel(channel: str) -> Channel:
    """The channel, or InvalidArgument; what the installation sends to is no person's choice."""
    for each in PERSONAL_CHANNELS:
        if each == channel:
            return each
    raise InvalidArgument(
        f'channel: "{channel[:64]}" is not yours to choose; allowed: "inbox", "email"',
        reason="CHANNEL_INVALID",
        field="channel",
    )
