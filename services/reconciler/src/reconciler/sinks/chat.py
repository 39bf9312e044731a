"""Everything else, through Apprise: chat rooms, push services, text messages.

Apprise is synchronous and a service may hang, so each send has a thread of its own: a daemon, so
that one that hangs keeps neither the process from ending nor, as in a shared pool, others from
running. At most `THREADS_MAX` of a URL live at once; more are told to come again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from typing import Any, Final

import apprise

from reconciler.core.notifications.fanout import Target
from reconciler.core.notifications.kinds import Channel
from reconciler.core.notifications.sinks import Accepted, Message, Outcome, Unreached
from svckit.errors import StartFailed

__all__ = ["ChatSink", "read_chat_urls"]

THREADS_MAX: Final = 4
URLS_MAX: Final = 20


class ChatSink:
    """Sends to one Apprise URL."""

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL Apprise does not know."""
        self._service: Any = apprise.Apprise()
        if not self._service.add(url):
            raise ValueError("Apprise does not know this URL")
        self._target = Target(
            channel=Channel.APPRISE, name=hashlib.sha256(url.encode()).hexdigest()[:12]
        )
        self._threads: set[threading.Thread] = set()

    @property
    def target(self) -> Target:
        """Named by the hash of its URL, which is a secret."""
        return self._target

    async def send(self, message: Message) -> Outcome:
        """Sends one message. Apprise says whether it went out, not why it did not."""
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        if len(self._threads) >= THREADS_MAX:
            return Unreached(f"{THREADS_MAX} sends to this URL hang")
        loop = asyncio.get_running_loop()
        went: asyncio.Future[bool] = loop.create_future()

        def settle(is_sent: bool) -> None:
            if not went.done():  # else nobody waits any more
                went.set_result(is_sent)

        def notify() -> None:
            try:
                is_sent = bool(self._service.notify(title=message.subject, body=message.body))
            except Exception:
                is_sent = False
            try:
                loop.call_soon_threadsafe(settle, is_sent)
            except RuntimeError:
                return  # the process ends

        thread = threading.Thread(target=notify, name="apprise", daemon=True)
        self._threads.add(thread)
        thread.start()
        return Accepted() if await went else Unreached("the service did not take it")


def read_chat_urls(text: str) -> tuple[ChatSink, ...]:
    """A sink for each line that is no comment. Raises StartFailed, which names the line and not
    the URL.
    """
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their lines hold URLs
    sinks: dict[str, ChatSink] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        url = line.strip()
        if not url or url.startswith("#"):
            continue
        try:
            sinks.setdefault(url, ChatSink(url))
        except ValueError as error:
            raise StartFailed(f"apprise_urls_file, line {number}: {error}") from None
    if len(sinks) > URLS_MAX:
        raise StartFailed(f"apprise_urls_file has {len(sinks)} URLs; allowed are {URLS_MAX}")
    return tuple(sinks.values())
