"""Notifications between protobuf and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from reconciler.core.notifications.kinds import Channel
from reconciler.core.notifications.views import DeliveryView, InboxView, PreferenceView
from reconciler.wire.values import decode_uuid, encode_time
from svckit.errors import InvalidArgument
from warmpool.control.v1 import notifications_pb2 as pb

__all__ = [
    "decode_channel",
    "decode_ids",
    "decode_status",
    "encode_delivery",
    "encode_message",
    "encode_preferences",
]

IDS_MAX: Final = 200
STATUSES: Final[Mapping[str, pb.DeliveryStatus.ValueType]] = {
    "": pb.DELIVERY_STATUS_UNSPECIFIED,
    "pending": pb.DELIVERY_STATUS_PENDING,
    "sent": pb.DELIVERY_STATUS_SENT,
    "dead": pb.DELIVERY_STATUS_DEAD,
}
_STATUS_NAMES: Final[Mapping[int, str]] = {number: name for name, number in STATUSES.items()}


def decode_ids(ids: Iterable[str]) -> tuple[UUID, ...]:
    """Up to 200 ids; raises InvalidArgument."""
    found = tuple(decode_uuid(each, "ids") for each in ids)
    if len(found) > IDS_MAX:
        raise InvalidArgument(
            f"ids: {len(found)} are given; allowed are {IDS_MAX} at once",
            reason="TOO_MANY",
            field="ids",
        )
    return found


def decode_status(status: int) -> str:
    """The status, empty for any; raises InvalidArgument for one that is not known."""
    name = _STATUS_NAMES.get(status)
    if name is None:
        raise InvalidArgument(
            f"status: {status} is not known; allowed: pending, sent, dead, or 0 for any",
            reason="STATUS_INVALID",
            field="status",
        )
    return name


def decode_channel(channel: str) -> str:
    """The channel, empty for any; raises InvalidArgument for one there is not."""
    if channel and channel not in tuple(Channel):
        allowed = ", ".join(f'"{each}"' for each in Channel)
        raise InvalidArgument(
            f'channel: "{channel[:64]}" is none; allowed: {allowed}, or empty for any',
            reason="CHANNEL_INVALID",
            field="channel",
        )
    return channel


def encode_message(view: InboxView) -> pb.InboxMessage:
    """A message of an inbox."""
    return pb.InboxMessage(
        id=str(view.id),
        kind=view.kind,
        subject=view.words.subject,
        body=view.words.body,
        organization=view.organization,
        created_at=encode_time(view.created_at),
        read_at=encode_time(view.read_at),
    )


def encode_preferences(views: Iterable[PreferenceView]) -> list[pb.Preference]:
    """What somebody hears of."""
    return [
        pb.Preference(
            kind=view.kind.value,
            inbox=view.channels[Channel.INBOX],
            email=view.channels[Channel.EMAIL],
        )
        for view in views
    ]


def encode_delivery(view: DeliveryView) -> pb.Delivery:
    """A delivery."""
    return pb.Delivery(
        id=str(view.id),
        kind=view.kind,
        channel=view.channel,
        recipient=view.recipient,
        subject=view.words.subject,
        status=STATUSES[view.status],
        attempts=view.attempts,
        error=view.error,
        created_at=encode_time(view.created_at),
        due_at=encode_time(view.due_at if view.status == "pending" else None),
        finished_at=encode_time(view.finished_at),
    )
