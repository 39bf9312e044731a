"""The bus over NATS: the only door to nats-py.

Promises: it starts without a server and connects when there is one; it never gives up; `flush`
tells the truth (nats-py's own succeeds while disconnected); nothing is taken while disconnected,
since a hint that waited is worth less than the look at the truth that follows a reconnect; after
every reconnect, with all subscriptions known to the server again, and after every dropped message,
it reports a disturbance.

nats-py mends a broken connection itself, and ends for good on some errors, such as refused
credentials. One task of this module starts it anew then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import nats.errors
import nkeys
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from bus._disturbances import Disturbances
from bus._pending import PendingMessages
from bus.access import NatsAccess
from bus.api import (
    PENDING_MAX,
    Bus,
    Message,
    Subscription,
    check_message,
    check_pattern,
    check_subject,
)
from bus.errors import BusUnavailable

__all__ = ["NatsAccess", "NatsBus", "connect_nats"]

FIRST_CONNECT_SECONDS: Final = (
    2.0  # how long a service waits at its start before it goes on without
)
CONNECT_TIMEOUT_SECONDS: Final = 3
CONNECT_ALL_SECONDS: Final = 15.0  # then it is tried anew, with the files as they are by then
RECONNECT_WAIT_SECONDS: Final = 0.5
FLUSH_TIMEOUT_SECONDS: Final = 3.0
CLOSE_TIMEOUT_SECONDS: Final = 3.0
PING_INTERVAL_SECONDS: Final = 10  # with two unanswered pings: a silent death is seen within 30 s
OUTSTANDING_PINGS_MAX: Final = 2
# What one read from the socket can put into nats-py's own queue before ours gets a turn.
LIBRARY_PENDING_MAX: Final = 65_536

_REFUSED: Final = "permissions violation"
REFUSALS_MAX: Final = 20

Failure = nats.errors.Error | OSError | TimeoutError


class _Listener:
    """A subscription, and what it is called at the current connection."""

    def __init__(self, pattern: str, queue: str | None, pending: PendingMessages) -> None:
        self.pattern = pattern
        self.queue = queue
        self.pending = pending
        self.client: Client | None = None
        self.remote: NatsSubscription | None = None

    async def attach(self, client: Client) -> None:
        if self.client is client:
            return
        self.client = client
        self.remote = await client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            self.pattern,
            queue=self.queue or "",
            cb=self._receive,
            pending_msgs_limit=LIBRARY_PENDING_MAX,
        )

    async def detach(self) -> None:
        self.pending.close()
        if self.remote is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self.remote.unsubscribe()

    async def _receive(self, message: Msg) -> None:
        self.pending.push(
            Message(
                subject=message.subject,
                payload=message.data,
                headers=dict(message.headers or {}),
            )
        )


class NatsBus(Bus):
    """A bus at one NATS server or cluster. Made by `connect_nats`."""

    def __init__(
        self, url: str, *, name: str, access: NatsAccess, ping_seconds: float, hears_itself: bool
    ) -> None:
        self._servers = [part.strip() for part in url.split(",")]
        self._name = name
        self._access = access
        self._ping_seconds = ping_seconds
        self._hears_itself = hears_itself
        self._client: Client | None = None  # set while its subscriptions are attached
        self._listeners: list[_Listener] = []
        self._disturbances = Disturbances()
        self._first_connect = asyncio.Event()
        self._keeper = asyncio.TaskGroup()
        self._keeper_task: asyncio.Task[None] | None = None
        self._last_failure = "no connection yet"
        self._refusals: dict[str, None] = {}  # in order, each once

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def generation(self) -> int:
        return self._disturbances.generation

    @property
    def last_failure(self) -> str:
        """The kind of the last failure, for logs; never carries credentials."""
        return self._last_failure

    @property
    def refusals(self) -> tuple[str, ...]:
        """What the server did not permit on this connection, in its words.

        It says so whenever it likes, to nobody in particular: after a `flush`, all that was asked
        before it has been answered.
        """
        return tuple(self._refusals)

    @property
    def last_refusal(self) -> str:
        """The last of them; "" if there is none."""
        return next(reversed(self._refusals), "")

    async def probe(self) -> str:
        """What is wrong with the connection, for people; "" if messages can flow."""
        if self.refusals:
            return "; ".join(self.refusals)
        if self.connected:
            return ""
        return f"not connected ({self._last_failure}); hints are late, nothing is lost"

    async def publish(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        check_subject(subject)
        check_message(payload, headers or {})
        client = self._require_client()
        try:
            await client.publish(subject, payload, headers=dict(headers) if headers else None)
        except (nats.errors.Error, OSError) as error:
            raise BusUnavailable(f"publish to {subject}: {type(error).__name__}") from error

    async def flush(self) -> None:
        client = self._require_client()
        reconnects = client.stats["reconnects"]
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await _flush_in_order(client)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise BusUnavailable(f"flush: {type(error).__name__}") from error
        if client is not self._client or not client.is_connected:
            raise BusUnavailable("flush: the connection was lost")
        if client.stats["reconnects"] != reconnects:
            raise BusUnavailable("flush: the connection was lost and mended meanwhile")

    @asynccontextmanager
    async def subscribe(
        self, subject: str, *, queue: str | None = None, pending_max: int = PENDING_MAX
    ) -> AsyncGenerator[Subscription, None]:
        check_pattern(subject)
        if queue is not None:
            check_subject(queue)
        if self._keeper_task is None:
            raise BusUnavailable("the bus is closed")
        pending = PendingMessages(pending_max, self._disturbances.report)
        listener = _Listener(subject, queue, pending)
        self._listeners.append(listener)
        try:
            if self._client is not None:
                with contextlib.suppress(nats.errors.Error, OSError):  # the keeper attaches it then
                    await listener.attach(self._client)
            yield pending
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)
            await listener.detach()

    def on_disturbance(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self._disturbances.listen(callback)

    async def close(self) -> None:
        task, self._keeper_task = self._keeper_task, None
        if task is None:
            return
        task.cancel()
        await self._keeper.__aexit__(None, None, None)
        for listener in self._listeners:
            listener.pending.close()
        self._listeners.clear()

    async def start(self) -> None:
        """Begins to keep a connection; waits a moment for the first, then goes on without."""
        await self._keeper.__aenter__()
        self._keeper_task = self._keeper.create_task(self._keep_connected(), name="bus-keeper")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_CONNECT_SECONDS):
                await self._first_connect.wait()

    async def _keep_connected(self) -> None:
        while True:
            client = Client()
            closed = asyncio.Event()
            try:
                await self._connect(client, closed)
                for listener in tuple(self._listeners):
                    await listener.attach(client)
                async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                    await _flush_in_order(client)
                self._client = client
                for listener in tuple(self._listeners):  # those that came during the flush
                    await listener.attach(client)
                self._first_connect.set()
                self._disturbances.report()
                await closed.wait()
            except (nats.errors.Error, OSError, TimeoutError, nkeys.NkeysError) as error:
                self._note(error)
            finally:
                self._client = None
                await _close_quietly(client)
            await asyncio.sleep(RECONNECT_WAIT_SECONDS)

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        access = self._access
        self._refusals.clear()

        async def on_closed() -> None:
            closed.set()

        async def on_reconnected() -> None:  # subscriptions are replayed and flushed by now
            if client is self._client:
                self._disturbances.report()

        async def on_error(error: Exception) -> None:
            self._note(error)
            refused = isinstance(error, ssl.SSLError | nats.errors.AuthorizationError)
            if refused and client is self._client:  # it would go on with the files as they were
                closed.set()
            if isinstance(error, nats.errors.SlowConsumerError):
                for listener in self._listeners:
                    if listener.remote is error.sub:
                        listener.pending.drop()

        async with asyncio.timeout(CONNECT_ALL_SECONDS):
            await client.connect(
                servers=self._servers,
                name=self._name,
                no_echo=not self._hears_itself,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT_SECONDS,  # pyright: ignore[reportArgumentType]
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                ping_interval=self._ping_seconds,  # pyright: ignore[reportArgumentType]
                max_outstanding_pings=OUTSTANDING_PINGS_MAX,
                user_credentials=str(access.credentials_file) if access.credentials_file else None,
                nkeys_seed=str(access.nkey_file) if access.nkey_file else None,
                tls=access.tls(),
                closed_cb=on_closed,
                reconnected_cb=on_reconnected,
                error_cb=on_error,
            )

    def _note(self, error: Exception) -> None:
        self._last_failure = type(error).__name__
        if _REFUSED in (text := str(error).lower()):
            refusal = text.removeprefix("nats: ").strip("'")
            self._refusals.pop(refusal, None)
            if len(self._refusals) < REFUSALS_MAX:
                self._refusals[refusal] = None

    def _require_client(self) -> Client:
        if self._keeper_task is None:
            raise BusUnavailable("the bus is closed")
        client = self._client
        if client is None or not client.is_connected:
            raise BusUnavailable(f"the bus is not connected: {self._last_failure}")
        return client


async def _flush_in_order(client: Client) -> None:
    """Returns when the server has all that was asked of it before.

    nats-py writes its PING past what its flusher has not written yet, so without the wait a PONG
    would prove nothing about a subscription made just before.
    """
    while client.pending_data_size > 0:  # noqa: ASYNC110 -- the library tells nobody when it has written
        await asyncio.sleep(0)
    await client.flush()


async def _close_quietly(client: Client) -> None:
    """Closing a broken connection may fail in many ways, none of which matter any more."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, AttributeError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await client.close()


async def connect_nats(
    url: str,
    *,
    name: str,
    access: NatsAccess | None = None,
    ping_seconds: float = PING_INTERVAL_SECONDS,
    hears_itself: bool = True,
) -> NatsBus:
    """A bus at `url`, or at several separated by commas; `name` is shown by the server. Without
    `hears_itself` it is spared what it publishes itself.

    Returns within a few seconds, connected or not; from then on it keeps trying for ever.
    Without `access` the URL says who it is, and whom to trust. Raises AccessInvalid if one of its
    files is no good; one that turns bad later is looked at again until it is mended. A connection
    that answers no ping is given up after about three times `ping_seconds`.
    """
    access = access or NatsAccess()
    access.check()
    bus = NatsBus(
        url, name=name, access=access, ping_seconds=ping_seconds, hears_itself=hears_itself
    )
    await bus.start()
    return bus
