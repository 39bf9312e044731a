"""The agent's connection to its gateway, made anew when its TLS files change.

gRPC's credentials are fixed for a channel's life, and an agent lives for weeks. So the files are
looked at before each call; a call under way stays where it began.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from agentsdk.errors import SettingsInvalid
from agentsdk.settings import AgentSettings
from warmpool.agent.v1 import agent_pb2_grpc

__all__ = ["Connection"]

# Pings find a dead peer below a stream's own idle detection, and more often than NATs forget; the
# gateway permits one every 10 s. Reconnecting is quick because streams add full jitter themselves.
_CHANNEL_OPTIONS: Final[Sequence[tuple[str, int]]] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.dns_min_time_between_resolutions_ms", 10_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 256 * 1024),
)
_RETIRED_MAX = 2  # no call of an agent lives through three renewals

_Stamp = tuple[tuple[int, int], ...]


class Connection:
    """One channel at a time, and the few that it was before."""

    def __init__(self, settings: AgentSettings) -> None:
        """Open it, on the loop's thread; it connects when first used. Raises `SettingsInvalid` for
        an unusable file.
        """
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._address = f"{host}:{settings.port}"
        self._settings = settings
        self._files = (settings.ca_file, settings.cert_file, settings.key_file)
        self._retired: list[grpc.aio.Channel] = []
        self._stamp = self._look()
        self._channel = self._open(self._credentials())
        self._stub = agent_pb2_grpc.AgentServiceStub(self._channel)

    async def stub(self) -> agent_pb2_grpc.AgentServiceStub:
        """What to make the next call with. Files that cannot be used leave the former in use."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                credentials = await asyncio.to_thread(self._credentials)
            except SettingsInvalid:
                return self._stub  # between two writes of a renewal; the next look finds the rest
            self._retired.append(self._channel)
            self._channel = self._open(credentials)
            self._stub = agent_pb2_grpc.AgentServiceStub(self._channel)
            if len(self._retired) > _RETIRED_MAX:
                await self._retired.pop(0).close()
        return self._stub

    async def close(self) -> None:
        """Ends it."""
        for channel in (*self._retired, self._channel):
            await channel.close()

    def _look(self) -> _Stamp:
        """Changes when a file does; a file that is gone counts as one, too."""
        found: list[tuple[int, int]] = []
        for file in self._files:
            try:
                stat = file.stat() if file else None
            except OSError:
                stat = None
            found.append((stat.st_mtime_ns, stat.st_ino) if stat else (0, 0))
        return tuple(found)

    def _open(self, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if credentials is None:
            return grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS)
        return grpc.aio.secure_channel(self._address, credentials, options=_CHANNEL_OPTIONS)

    def _credentials(self) -> grpc.ChannelCredentials | None:
        settings = self._settings
        if not settings.is_secure:
            return None
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
