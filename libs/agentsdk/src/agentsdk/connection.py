"""The agent's connection to its gateway: one at a time, its own, and another one on request.

A gateway that goes away asks for new streams elsewhere. Behind a load balancer, and on a shared
port, elsewhere means another connection: the old one leads to the old gateway for as long as both
live. So `renew` makes calls go to a new connection; calls that are under way end on the old one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Final

import grpc
import grpc.aio

from agentsdk.errors import SettingsInvalid
from agentsdk.limits import AgentLimits
from agentsdk.settings import AgentSettings
from warmpool.agent.v1.agent_pb2_grpc import AgentServiceStub

__all__ = ["Connection", "open_connection"]

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


class Connection:
    """Connects when it is first used."""

    def __init__(self, open_channel: Callable[[], grpc.aio.Channel]) -> None:
        self._open_channel = open_channel
        self._channel = open_channel()
        self._older: grpc.aio.Channel | None = None
        self.stub = AgentServiceStub(self._channel)
        """What to call now; it changes with `renew`."""

    async def renew(self) -> None:
        """Calls go to a new connection from now on. What is still under way on the connection
        before the last one is cancelled.
        """
        older, self._older = self._older, self._channel
        self._channel = self._open_channel()
        self.stub = AgentServiceStub(self._channel)
        if older is not None:
            await older.close()

    async def close(self) -> None:
        """Ends every call."""
        await self._channel.close()
        if self._older is not None:
            await self._older.close()


async def open_connection(settings: AgentSettings, limits: AgentLimits) -> Connection:
    """To the gateway that the settings name. Raises `SettingsInvalid` if the certificates cannot be
    read.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.port}"
    options = (*_OPTIONS, *_keepalive_options(limits))
    if not settings.is_secure:
        return Connection(lambda: grpc.aio.insecure_channel(address, options=options))
    credentials = grpc.ssl_channel_credentials(await asyncio.to_thread(_read_ca, settings))
    return Connection(lambda: grpc.aio.secure_channel(address, credentials, options=options))


def _keepalive_options(limits: AgentLimits) -> tuple[tuple[str, int], ...]:
    """Probes find a connection that is dead on the way, where frames only find a dead peer."""
    timeout_ms = int(limits.keepalive_timeout_seconds * 1_000)
    return (
        ("grpc.keepalive_time_ms", int(limits.keepalive_seconds * 1_000)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),  # the one that bounds it; its default is 60 s
    )


def _read_ca(settings: AgentSettings) -> bytes | None:
    if settings.ca_file is None:
        return None
    try:
        return settings.ca_file.read_bytes()
    except OSError as error:
        raise SettingsInvalid(
            "WARMPOOL_AGENT_CA_FILE", f"cannot be read ({error})", "a readable PEM file"
        ) from error
