"""Who an agent is: whoever has its token. The token itself goes no further than this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from svckit.auth import Authorizer, current_principal, hash_token
from svckit.errors import PermissionDenied, Unauthenticated

__all__ = ["AgentAuthorizer", "AgentPrincipal", "current_token_hash"]

AGENT_PERMISSION: Final = "agent.self"
TOKEN_LENGTH_MAX: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPrincipal:
    """The agent behind a call, by the SHA-256 of its token. Whether it exists is known later."""

    token_hash: bytes


class AgentAuthorizer(Authorizer):
    """Takes any token: the control plane knows which ones are real."""

    async def authorize(self, method: str, permission: str, token: str | None) -> AgentPrincipal:
        if permission != AGENT_PERMISSION:
            raise PermissionDenied(f"method {method}: agents may not call it")
        if not token or len(token) > TOKEN_LENGTH_MAX:
            raise Unauthenticated(
                "authorization: must be 'Bearer <agent token>'", reason="TOKEN_MISSING"
            )
        return AgentPrincipal(token_hash=hash_token(token))


def current_token_hash() -> bytes:
    """The hash of the token of the call that is being answered."""
    return cast("AgentPrincipal", current_principal.get()).token_hash
