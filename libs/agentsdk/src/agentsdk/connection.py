"""The agent's connection to its gateway: one at a time, its own, and another one on request.

A gateway that goes away asks for new streams elsewhere. Behind a load balancer, and on a shared
port, elsewhere means another connection: the old one leads to the old gateway for as long as both
live. So `renew` makes calls go to a new connection; calls that are under way end on the old one.
The same happens when a TLS file has changed: gRPC's credentials are fixed for a channel's life, and
an agent lives for weeks.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from agentsdk.errors import SettingsInvalid
from agentsdk.limits import AgentLimits
from agentsdk.log import AgentLog
from agentsdk.settings import AgentSettings, is_loopback
from agentsdk.system import SystemClock
from warmpool.agent.v1.agent_pb2_grpc import AgentServiceStub

__all__ = ["Connection", "channel_options", "open_connection"]

# A gateway that stops listening drops the calls that were on their way to it, unread: gRPC then
# reports a cancellation nobody asked for. Whatever an agent calls may be repeated.
_RETRIES: Final = {
    "methodConfig": [
        {
            "name": [{"service": "warmpool.agent.v1.AgentService"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["CANCELLED"],
            },
        }
    ]
}

# Reconnecting is quick because streams add full jitter themselves.
_OPTIONS: Final[Sequence[tuple[str, int | str]]] = (
    ("grpc.use_local_subchannel_pool", 1),  # or a new channel would share the old connection
    # Measuring the bandwidth answers every heartbeat with a ping, which costs the gateway nearly as
    # much as the heartbeat; what an agent receives fits gRPC's smallest window, or comes once.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.service_config", json.dumps(_RETRIES)),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.dns_min_time_between_resolutions_ms", 10_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 256 * 1024),
)


_OLDER_MAX: Final = 2  # no call of an agent lives through so many renewals

_Stamp = tuple[tuple[int, int], ...]


class Connection:
    """Connects when it is first used."""

    def __init__(
        self,
        open_channel: Callable[[], grpc.aio.Channel],
        files: Sequence[Path] = (),
        log: AgentLog | None = None,
    ) -> None:
        """`open_channel` raises `SettingsInvalid` if one of the `files` cannot be used."""
        self._open_channel = open_channel
        self._log = log or AgentLog(SystemClock())
        self._files = files
        self._stamp = self._look()
        self._older: list[grpc.aio.Channel] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._channel = open_channel()
        self._stub = AgentServiceStub(self._channel)

    @property
    def stub(self) -> AgentServiceStub:
        """What to make the next call with. Files that cannot be used leave the former in use."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._replace()
            except SettingsInvalid as error:  # as between two writes of a renewal
                self._log.warning("A TLS file cannot be used; the former stays.", error=str(error))
        return self._stub

    async def renew(self) -> None:
        """Calls go to a new connection from now on. What is still under way on a connection of
        some renewals ago is cancelled.
        """
        self._replace()

    async def close(self) -> None:
        """Ends every call."""
        for channel in (*self._older, self._channel):
            await channel.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _replace(self) -> None:
        channel = self._open_channel()
        self._older.append(self._channel)
        self._channel = channel
        self._stub = AgentServiceStub(channel)
        if len(self._older) > _OLDER_MAX:
            closing = asyncio.get_running_loop().create_task(self._older.pop(0).close())
            self._closing.add(closing)  # awaited by `close`
            closing.add_done_callback(self._closing.discard)

    def _look(self) -> _Stamp:
        """Changes when a file does; a file that is gone counts as one, too."""
        found: list[tuple[int, int]] = []
        for file in self._files:
            try:
                stat = file.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((stat.st_mtime_ns, stat.st_ino))
        return tuple(found)


def open_connection(settings: AgentSettings, limits: AgentLimits) -> Connection:
    """To the gateway that the settings name. Raises `SettingsInvalid` if the certificates cannot be
    used.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.port}"
    options = channel_options(limits)
    if is_loopback(settings.host):  # `http_proxy` would lead it, and the token, away
        options = (*options, ("grpc.enable_http_proxy", 0))
    if not settings.is_secure:
        return Connection(lambda: grpc.aio.insecure_channel(address, options=options))
    files = [each for each in (settings.ca_file, settings.cert_file, settings.key_file) if each]
    return Connection(
        lambda: grpc.aio.secure_channel(address, _credentials(settings), options=options), files
    )


def channel_options(limits: AgentLimits) -> tuple[tuple[str, int | str], ...]:
    """What every channel of an agent is opened with."""
    return (*_OPTIONS, *_keepalive_options(limits))


def _keepalive_options(limits: AgentLimits) -> tuple[tuple[str, int], ...]:
    """Probes find a connection that is dead on the way, where frames only find a dead peer."""
    timeout_ms = int(limits.keepalive_timeout_seconds * 1_000)
    return (
        ("grpc.keepalive_time_ms", int(limits.keepalive_seconds * 1_000)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),  # the one that bounds it; its default is 60 s
    )


def _credentials(settings: AgentSettings) -> grpc.ChannelCredentials:
    if settings.ca_file:
        _check_roots(settings.ca_file)
    if settings.cert_file and settings.key_file:
        _check_pair(settings.cert_file, settings.key_file)
    return grpc.ssl_channel_credentials(
        root_certificates=_read("WARMPOOL_AGENT_CA_FILE", settings.ca_file),
        private_key=_read("WARMPOOL_AGENT_KEY_FILE", settings.key_file),
        certificate_chain=_read("WARMPOOL_AGENT_CERT_FILE", settings.cert_file),
    )


def _read(name: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsInvalid(name, f"cannot be read ({error})", "a readable PEM file") from error


def _check_roots(file: Path) -> None:
    """gRPC takes whatever it is given, and then trusts nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(file)
        problem = "" if context.cert_store_stats()["x509"] else "holds no certificate"
    except OSError as error:  # ssl.SSLError is one
        problem = f"cannot be used ({error})"
    if problem:
        raise SettingsInvalid("WARMPOOL_AGENT_CA_FILE", problem, "a PEM file of certificates")


def _check_pair(cert_file: Path, key_file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            cert_file, key_file, password=lambda: ""
        )
    except OSError as error:  # ssl.SSLError is one
        raise SettingsInvalid(
            "WARMPOOL_AGENT_CERT_FILE",
            f"cannot be used with the key ({error})",
            "a PEM certificate, and its own key in WARMPOOL_AGENT_KEY_FILE",
        ) from error
