"""A webhook: one POST of JSON for each event, signed as the Standard Webhooks specification says.

`webhook-id` is the same at each attempt; `webhook-signature` is an HMAC-SHA256 over id, time and
body, so that a receiver can tell our requests from anybody's and refuse old ones. An answer that is
about the message (400, 413, 422 and the like) refuses it; others may pass. Redirects are not
followed: the body is for the address that was configured. What the receiver says is not read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import ssl
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from reconciler.core.notifications.fanout import Target
from reconciler.core.notifications.kinds import Channel
from reconciler.core.notifications.sinks import Accepted, Message, Outcome, Refused, Unreached
from reconciler.sinks.masking import describe
from svckit.errors import StartFailed
from svckit.system import Clock

__all__ = ["PAYLOAD_VERSION", "WebhookSettings", "WebhookSink", "encode_payload", "read_key"]

PAYLOAD_VERSION: Final = 1
KEY_BYTES_MIN: Final = 16
_ABOUT_THE_SINK: Final = frozenset({401, 403, 404, 407, 408, 409, 421, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Where to post, and the key that signs. The URL may hold a secret of its own."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)
    context: ssl.SSLContext


class WebhookSink:
    """Posts events."""

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    @property
    def target(self) -> Target:
        """The one there is."""
        return Target(channel=Channel.WEBHOOK)

    async def send(self, message: Message) -> Outcome:
        """Posts one event."""
        settings = self._settings
        body = encode_payload(message)
        moment = str(int(self._clock.now().timestamp()))
        headers = {
            "content-type": "application/json",
            "user-agent": "warmpool",
            "webhook-id": str(message.id),
            "webhook-timestamp": moment,
            "webhook-signature": _sign(settings.key, str(message.id), moment, body),
        }
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.post(
                    settings.url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=settings.context,
                ) as answer,
            ):
                return _read_answer(answer.status)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Unreached(describe(error, settings.url, settings.url.partition("://")[2]))


def encode_payload(message: Message) -> bytes:
    """The body of a POST. Fields are only ever added."""
    document = {
        "version": PAYLOAD_VERSION,
        "id": str(message.id),
        "kind": message.kind,
        "subject": message.subject,
        "body": message.body,
        "organization": message.organization,
        "facts": dict(message.facts),
        "created_at": message.created_at.isoformat(),
    }
    return json.dumps(document, sort_keys=True).encode()


def read_key(secret: str) -> bytes:
    """The key of a secret: what follows `whsec_` is base64, anything else is taken as it is.
    Raises StartFailed.
    """
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
    except binascii.Error:
        raise StartFailed("webhook_secret_file: what follows whsec_ is not base64") from None
    if len(key) < KEY_BYTES_MIN:
        raise StartFailed(
            f"webhook_secret_file holds {len(key)} bytes; a secret has at least {KEY_BYTES_MIN}"
        )
    return key


def _sign(key: bytes, id_: str, moment: str, body: bytes) -> str:
    digest = hmac.new(key, f"{id_}.{moment}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _read_answer(status: int) -> Outcome:
    if 200 <= status < 300:
        return Accepted()
    said = f"the receiver answered {status}"
    if 400 <= status < 500 and status not in _ABOUT_THE_SINK:
        return Refused(said)
    return Unreached(said)
