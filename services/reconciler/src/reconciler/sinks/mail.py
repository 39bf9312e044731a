"""Mail over SMTP: one message to one person, over a connection of its own.

What the server says of this one message for good (no such mailbox, too large) refuses it; anything
else, wrong credentials and certificates included, is the server's condition and may pass. Servers
repeat whom a mail was for: no address is in what is said of a failure, and to everybody only its
sort and the server's code are told.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiosmtplib

from reconciler.core.notifications.fanout import Target
from reconciler.core.notifications.kinds import Channel, MailTls
from reconciler.core.notifications.sinks import (
    Accepted,
    Message,
    Outcome,
    Refused,
    Unaddressed,
    Unreached,
)
from reconciler.core.notifications.wording import one_line
from reconciler.sinks.masking import describe
from svckit.errors import StartFailed

__all__ = ["MailSettings", "MailSink", "check_sender", "compose"]


GOODBYE_SECONDS = 1.0
_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+")
_NO_ADDRESS = (ValueError, IndexError, MessageError)
"""How `email` says that something is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """The mail server, and who the mail is from. Without `username` nobody logs in."""

    host: str
    port: int
    sender: str
    tls: MailTls = MailTls.STARTTLS
    context: ssl.SSLContext | None = None
    username: str = ""
    password: str = field(default="", repr=False)


class MailSink:
    """Sends mail."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    @property
    def target(self) -> Target:
        """All of the channel: whoever it is for is in the message."""
        return Target(channel=Channel.EMAIL)

    async def send(self, message: Message) -> Outcome:
        """Sends one mail."""
        settings = self._settings
        if not message.email:
            return Unaddressed("the recipient has no address any more, or was disabled")
        try:
            mail = compose(message, settings.sender)
        except _NO_ADDRESS as error:
            return Refused(_mask(f"no mail can be addressed to them: {error}"))
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username or None,
            password=settings.password or None,
            use_tls=settings.tls is MailTls.TLS,
            start_tls=settings.tls is MailTls.STARTTLS,
            tls_context=None if settings.tls is MailTls.NONE else settings.context,
        )
        try:
            await client.connect()
            await client.send_message(mail, sender=settings.sender, recipients=[message.email])
            await _leave(client)
        except Exception as error:
            said = _mask(describe(error, settings.password, message.email))
            return Refused(said) if _is_final(error) else Unreached(said, _name(error))
        finally:
            client.close()  # at once, also when time is up: a goodbye would wait for a slow server
        return Accepted()


async def _leave(client: aiosmtplib.SMTP) -> None:
    """Says goodbye; the mail was taken, whatever comes of that."""
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await client.quit()
    except (aiosmtplib.SMTPException, OSError):
        return


def compose(message: Message, sender: str) -> EmailMessage:
    """The mail; raises one of `_NO_ADDRESS` for an address that is none."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(addr_spec=sender)
    mail["To"] = Address(addr_spec=message.email)
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(message.created_at)
    mail["Message-ID"] = f"<{message.id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Warmpool-Kind"] = one_line(message.kind, 64)
    mail.set_content(message.body)
    return mail


def check_sender(sender: str) -> str:
    """The sender's address; raises StartFailed."""
    try:
        Address(addr_spec=sender)
    except _NO_ADDRESS as error:
        raise StartFailed(f"smtp_from is not an address: {error}") from None
    return sender


def _mask(said: str) -> str:
    return _ADDRESS.sub("***", said)


def _name(error: Exception) -> str:
    """The sort of an error, and the server's code if it said one."""
    name = type(error).__name__
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=[first, *_]):
            return f"{name} {first.code}"
        case aiosmtplib.SMTPResponseException(code=code):
            return f"{name} {code}"
        case _:
            return name


def _is_final(error: Exception) -> bool:
    """Whether it is said of the message, or its recipient, and for good."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=recipients):
            return all(each.code >= 500 for each in recipients)
        case aiosmtplib.SMTPDataError(code=code):
            return code >= 500
        case aiosmtplib.SMTPNotSupported():
            return "UTF8" in str(error).upper()
        case _:
            return False
