"""The one way to open a channel: keepalive, the token, the trace and a bound on every call.

Open one long-lived channel per peer and close it at the end. A peer that froze is noticed within
about 40 s; a call without a deadline of its own ends after `unary_seconds_max`. A channel with TLS
files of its own follows them (`svckit.reloading`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

import grpc
import grpc.aio

from svckit.addresses import is_loopback
from svckit.interceptors.client import client_interceptors
from svckit.reloading import ReloadingChannel
from svckit.tls import ClientTls

__all__ = ["MESSAGE_BYTES_MAX", "ClientTls", "PlaintextRefused", "open_channel"]

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
UNARY_SECONDS_MAX = 60.0

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The one that bounds how long a frozen peer goes unnoticed; its default is 60 s.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # A replica that came is found within this; svckit.server gives notice for longer.
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 10_000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)

# Over every address the name has, and only over those that serve: one that drains says so first.
_SPREAD: dict[str, object] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
}
# For about 1.5 s, longer than the pause between two attempts to connect: a replica that ends at the
# wrong moment is no error as long as another one is there.
_RETRY: dict[str, object] = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


class PlaintextRefused(ValueError):
    """The token would cross the network in clear, and nobody said that it may."""


def open_channel(
    address: str,
    *,
    token: Callable[[], str] | str | None,
    tls: ClientTls | None = None,
    allow_plaintext: bool = False,
    unary_seconds_max: float = UNARY_SECONDS_MAX,
    spread: bool = False,
    repeatable: Collection[str] = (),
) -> grpc.aio.Channel:
    """A channel to `address`: "host:port", "http://host:port" or "https://host:port".

    With "https" or `tls` the channel is encrypted. `token` is sent as bearer with every call; give
    a function if it can change. A unary call without a deadline gets `unary_seconds_max`. With
    `spread` calls go in turn to every address behind the name that is healthy; a list of addresses
    is "ipv4:address:port,address:port". `repeatable` names methods, "package.Service/Method", and
    services, all of whose calls may be carried out twice without harm: those that end with
    UNAVAILABLE are repeated a few times. Raises ValueError for any other address or for "http" with
    `tls`, PlaintextRefused for a token to another machine without TLS unless `allow_plaintext`,
    StartFailed for an unusable TLS file.
    """
    target, encrypted = _parse(address)
    if tls is not None and address.startswith("http://"):
        raise ValueError(f"address is {address!r} but TLS is configured: use https://")
    encrypted = encrypted or tls is not None
    if token is not None and not (encrypted or allow_plaintext or _stays_here(target)):
        raise PlaintextRefused(
            f"{address} is on another machine and not encrypted: the token would cross the network"
            " in clear"
        )
    options: list[tuple[str, int | str]] = list(_OPTIONS)
    if spread or repeatable:
        options.append(("grpc.service_config", _service_config(spread, repeatable)))
    if _stays_here(target):
        options.append(
            ("grpc.enable_http_proxy", 0)
        )  # or `http_proxy` would lead it, and the token, away
    take_token = (lambda: token) if isinstance(token, str) else token
    interceptors = client_interceptors(take_token, unary_seconds_max)
    if not encrypted:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    tls = tls or ClientTls()
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))

    def open_one(credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            target, credentials, options=options, interceptors=interceptors
        )

    credentials = tls.follow()
    return ReloadingChannel(credentials, open_one) if tls.files else open_one(credentials.now)


def _stays_here(target: str) -> bool:
    """Whether every address of a target is on this machine."""
    addresses = target.removeprefix("ipv4:").removeprefix("ipv6:").split(",")
    return all(is_loopback(address.rpartition(":")[0]) for address in addresses)


def _service_config(spread: bool, repeatable: Collection[str]) -> str:
    names = [
        {"service": service, "method": method} if method else {"service": service}
        for service, _, method in (name.partition("/") for name in repeatable)
    ]
    retries = {"methodConfig": [{"name": names, "retryPolicy": _RETRY}]} if names else {}
    return json.dumps({**(_SPREAD if spread else {}), **retries})


def _parse(address: str) -> tuple[str, bool]:
    scheme, separator, rest = address.partition("://")
    target = (rest if separator else address).removesuffix("/")
    host, _, port = target.rpartition(":")
    known = not separator or scheme in {"http", "https"}
    if not known or not host or "/" in target or not port.isdigit() or int(port) > 65535:
        raise ValueError(
            f"address is {address!r}: allowed are host:port, http://host:port and https://host:port"
        )
    return target, separator != "" and scheme == "https"
