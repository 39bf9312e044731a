"""Who calls, and whether they may.

The server asks the proto which permission a method needs (`warmpool.common.v1.permission`) and the
service's `Authorizer` whether the bearer token grants it. A method that declares no permission is
refused: forgetting it locks a door, it never opens one. Tokens are 256 random bits, so their
SHA-256 is all a database needs to keep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import cache
from typing import Protocol

from google.protobuf import descriptor_pool

from warmpool.common.v1 import authz_pb2

__all__ = [
    "Authorizer",
    "authorize_again",
    "bearer_of",
    "current_principal",
    "hash_token",
    "permission_of",
]

_SCHEME = "bearer"

current_principal: ContextVar[object] = ContextVar("current_principal")
"""What the authorizer returned for the call being handled. Unset (LookupError) outside of calls."""

authorize_again: ContextVar[Callable[[], Awaitable[object]]] = ContextVar("authorize_again")
"""Asks the authorizer once more about the call being handled, for streams that outlive a token:
returns the principal, or raises what the authorizer raises. Unset (LookupError) outside of calls.
"""


class Authorizer(Protocol):
    """Decides who may call what."""

    async def authorize(self, method: str, permission: str, token: str | None) -> object:
        """The principal behind `token` if it holds `permission` for `method`
        ("/package.Service/Method").

        `token` is None if the call had none. Raises `Unauthenticated` or `PermissionDenied`.
        """
        ...


@cache
def permission_of(method_full_name: str) -> str | None:
    """The permission a method declares; None if it declares none or nobody knows the method.

    Takes both "/package.Service/Method" and "package.Service.Method".
    """
    name = method_full_name.removeprefix("/").replace("/", ".")
    try:
        method = descriptor_pool.Default().FindMethodByName(name)
    except KeyError:
        return None
    return method.GetOptions().Extensions[authz_pb2.permission] or None


def hash_token(token: str) -> bytes:
    """What is stored of a token: its SHA-256."""
    return hashlib.sha256(token.encode()).digest()


def bearer_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    """The token in "authorization: Bearer <token>"; None if there is none, or more than one."""
    values = [value for key, value in metadata or () if key.lower() == "authorization"]
    if len(values) != 1 or not isinstance(values[0], str):
        return None
    scheme, _, token = values[0].partition(" ")
    token = token.strip()
    return token if scheme.lower() == _SCHEME and token else None
