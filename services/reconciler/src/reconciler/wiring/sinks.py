"""Where notifications go, from the operator's settings. What cannot work ends the start.

The libraries of a sink are imported where it is set up: whoever has none waits for none of them.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.core.notifications.kinds import MailTls
from reconciler.core.notifications.sinks import Sink
from reconciler.wiring.settings import ReconcilerSettings
from svckit.addresses import is_loopback
from svckit.errors import StartFailed
from svckit.system import Clock

__all__ = ["read_sinks"]


def read_sinks(settings: ReconcilerSettings, clock: Clock) -> tuple[Sink, ...]:
    """Every sink that is set up; raises StartFailed."""
    sinks: list[Sink] = []
    if settings.smtp_host:
        sinks.append(_read_mail(settings))
    if settings.webhook_url_file is not None:
        url = _read("webhook_url_file", settings.webhook_url_file).strip()
        sinks.append(_read_webhook(settings, "webhook_url_file", url, clock))
    elif url := settings.webhook_url.get_secret_value():
        sinks.append(_read_webhook(settings, "webhook_url", url, clock))
    if settings.apprise_urls_file is not None:
        from reconciler.sinks.chat import read_chat_urls

        sinks += read_chat_urls(_read("apprise_urls_file", settings.apprise_urls_file))
    return tuple(sinks)


def _read_mail(settings: ReconcilerSettings) -> Sink:
    from reconciler.sinks.mail import MailSettings, MailSink, check_sender

    password = ""
    if settings.smtp_password_file is not None:
        password = _read("smtp_password_file", settings.smtp_password_file).strip()
    if bool(settings.smtp_username) != bool(password):
        raise StartFailed("smtp_username and smtp_password_file: give both, or neither")
    if password and settings.smtp_tls is MailTls.NONE:
        raise StartFailed(
            'smtp_tls: "none" would send the password in clear; allowed with it: "starttls", "tls"'
        )
    if settings.smtp_tls is MailTls.NONE:
        _refuse_plain_text(settings, "smtp_host", settings.smtp_host, "smtp_tls")
    if not settings.smtp_from:
        raise StartFailed("smtp_from: missing; mail needs the address that it is from")
    mail = MailSettings(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=check_sender(settings.smtp_from),
        tls=settings.smtp_tls,
        context=_read_context(settings),
        username=settings.smtp_username,
        password=password,
    )
    return MailSink(mail)


def _read_webhook(settings: ReconcilerSettings, name: str, url: str, clock: Clock) -> Sink:
    """`name` is the setting that the URL is from."""
    from reconciler.sinks.webhook import WebhookSettings, WebhookSink, read_key

    parts = urlsplit("")
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise StartFailed(f"{name}: not an http:// or https:// address with a host")
    if parts.scheme == "http":
        _refuse_plain_text(settings, name, parts.hostname or "", "https://")
    if settings.webhook_secret_file is None:
        raise StartFailed(
            "webhook_secret_file: missing; posts are signed, so that the receiver"
            " knows them. Give a file with a random line"
        )
    key = read_key(_read("webhook_secret_file", settings.webhook_secret_file).strip())
    hook = WebhookSettings(url=url, key=key, context=_read_context(settings))
    return WebhookSink(hook, clock)


def _refuse_plain_text(settings: ReconcilerSettings, name: str, host: str, way: str) -> None:
    """Raises StartFailed if what is told would travel beyond the machine in clear."""
    if not (settings.allow_plaintext or is_loopback(host)):
        raise StartFailed(
            f"{name}: notifications would go to another machine in clear; use {way}, or set"
            " allow_plaintext where something else encrypts"
        )


def _read_context(settings: ReconcilerSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.notification_ca_file is not None:
        try:
            context.load_verify_locations(settings.notification_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise StartFailed(
                f"notification_ca_file: cannot read {settings.notification_ca_file}: {error}"
            ) from error
    return context


def _read(setting: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartFailed(f"{setting}: cannot read {path}: {error}") from error
