"""Receivers of notifications: a real SMTP server and a real HTTP server, which can be told to be
slow, dead or rude.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as email_policy

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

__all__ = ["HookServer", "MailServer", "Post", "serve_hooks", "serve_mail"]


@dataclass(slots=True, kw_only=True)
class MailServer:
    """A mail server. `answers` are what it says to the next mails in place of taking them."""

    host: str = "127.0.0.1"
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    """Those it took."""
    arrived_ids: list[str] = field(default_factory=list[str])
    """The Message-ID of each that came, whatever became of it."""
    recipients: list[str] = field(default_factory=list[str])
    answers: deque[str] = field(default_factory=deque[str])
    password: str = ""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event | None = None
    """While it is there and not set, the server says nothing."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """A recipient; "nobody@" is none."""
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """A mail."""
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content.replace(b"\r\n", b"\n"), policy=email_policy)
        assert isinstance(mail, EmailMessage)
        self.arrived_ids.append(str(mail["Message-ID"]))
        self.arrived.set()
        if self.held is not None:
            await self.held.wait()
        if self.answers:
            return self.answers.popleft()
        self.mails.append(mail)
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    def log_in(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        """Whether it is the password."""
        is_known = isinstance(data, LoginPassword) and data.password.decode() == self.password
        return AuthResult(success=is_known, handled=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class HookServer:
    """A receiver of posts. `statuses` are what it answers to the next ones in place of 204."""

    port: int = 0
    posts: list[Post] = field(default_factory=list[Post])
    statuses: deque[int] = field(default_factory=deque[int])
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event | None = None
    """While it is there and not set, the server says nothing."""

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self.port}/hook?key=s3cret"

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Takes a post."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posts.append(Post(headers=headers, body=body))
        self.arrived.set()
        if self.held is not None:
            await self.held.wait()
        status = self.statuses.popleft() if self.statuses else 204
        location = {"location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=location)


@asynccontextmanager
async def serve_mail(
    tls: ssl.SSLContext | None = None, *, password: str = "", port: int = 0
) -> AsyncGenerator[MailServer]:
    """A mail server on a port of this machine. With a context it offers STARTTLS and insists on it;
    with a password, on a login.
    """
    server = MailServer(password=password)
    make: Callable[[], SMTP] = lambda: SMTP(  # noqa: E731 - asyncio wants a factory
        server,
        hostname="mail.test",
        tls_context=tls,
        require_starttls=tls is not None,
        authenticator=server.log_in if password else None,
        auth_required=bool(password),
        loop=asyncio.get_running_loop(),
    )
    listening = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        if server.held is not None:
            server.held.set()
        listening.close()


@asynccontextmanager
async def serve_hooks(port: int = 0) -> AsyncGenerator[HookServer]:
    """A receiver of posts on a port of this machine."""
    server = HookServer()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/hook", server.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server.port = listener.getsockname()[1]
    await web.SockSite(runner, listener).start()
    try:
        yield server
    finally:
        if server.held is not None:
            server.held.set()
        await runner.cleanup()
