"""Lets calls in: whose token it is, and whether its holder may call the method at all.

Promises: a token that expired, was revoked or belongs to somebody disabled or to the system user is
refused, a revoked one after `CACHE_SECONDS` at the latest; callers that come together with one
token ask the database once. What a call is about is the method's to check.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from reconciler.core.permissions import Principal, may_somewhere
from reconciler.store.identity import Credential, Identities
from svckit.auth import hash_token
from svckit.errors import PermissionDenied, Unauthenticated
from svckit.system import Clock

__all__ = ["CACHE_SECONDS", "TokenAuthorizer"]

CACHE_SECONDS: Final = 5.0
CACHED_MAX: Final = 10_000  # tokens; the one that was read first goes first
LOCKS: Final = 64  # tokens share them by hash, so that nobody's lookup waits for everybody's


class TokenAuthorizer:
    """Implements `svckit.auth.Authorizer` with users' tokens and services' keys."""

    def __init__(self, identities: Identities, clock: Clock) -> None:
        self._identities = identities
        self._clock = clock
        self._cached: OrderedDict[bytes, tuple[Credential, float]] = OrderedDict()
        self._locks = tuple(asyncio.Lock() for _ in range(LOCKS))

    async def authorize(self, method: str, permission: str, token: str | None) -> Principal:
        """The holder of `token`, if they may call `method` for anything."""
        if not token:
            raise Unauthenticated(
                'the call has no token; send the metadata "authorization: Bearer <token>"',
                reason="TOKEN_MISSING",
            )
        credential = await self._find(hash_token(token))
        if credential is None:
            raise Unauthenticated("the token is not known", reason="TOKEN_UNKNOWN")
        if credential.refusal:
            raise Unauthenticated(
                f"the token is refused: {credential.refusal}", reason="TOKEN_REFUSED"
            )
        if credential.expires_at is not None and credential.expires_at <= self._clock.now():
            raise Unauthenticated(
                f"the token expired at {credential.expires_at.isoformat()}", reason="TOKEN_EXPIRED"
            )
        if not may_somewhere(credential.principal, permission):
            raise PermissionDenied(
                f'{method} needs the permission "{permission}", which the caller does not hold',
                reason="PERMISSION_MISSING",
                metadata={"permission": permission},
            )
        return credential.principal

    def forget(self) -> None:
        """Asks the database again for everybody, because somebody's rights changed."""
        self._cached.clear()

    async def _find(self, token_hash: bytes) -> Credential | None:
        cached = self._find_cached(token_hash)
        if cached is not None:
            return cached
        async with self._locks[token_hash[0] % LOCKS]:
            cached = self._find_cached(token_hash)
            if cached is not None:
                return cached
            read_at = self._clock.monotonic()
            credential = await self._identities.find_credential(token_hash)
            if credential is not None:  # strangers' guesses take no room
                self._cached[token_hash] = (credential, read_at + CACHE_SECONDS)
                while len(self._cached) > CACHED_MAX:
                    self._cached.popitem(last=False)
            return credential

    def _find_cached(self, token_hash: bytes) -> Credential | None:
        credential, until = self._cached.get(token_hash, (None, 0.0))
        if credential is not None and until <= self._clock.monotonic():
            del self._cached[token_hash]
            return None
        return credential
